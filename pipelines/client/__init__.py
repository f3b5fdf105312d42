"""What an application installs beside its OpenFeature SDK: unit numbers, exposures and conversions. Nothing heavy."""
