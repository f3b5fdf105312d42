"""Pure mathematics of experiments: arrays of cells in, arrays of cells out. No I/O, no clock.

Every method has one place; the functions are imported from their modules, nothing is re-exported here.

==========================================  ==============================================================
Method                                      Function
==========================================  ==============================================================
Sums that merge                             `stats.moments.Moments`
Histograms that merge                       `stats.histogram.Histogram`, `stats.histogram.LogHistogram`
Interval and p-value of any effect          `stats.effect.infer`
Non-inferiority, absolute margin            `stats.effect.noninferiority`
Non-inferiority, relative margin            `stats.margins.relative_margin_effect`
Equivalence (TOST)                          `stats.margins.equivalence`
Means, Welch; Student                       `stats.means.welch`, `stats.means.student`
Proportions, method chosen by the cells     `stats.proportion_effect.proportion_effect`
Pooled z; unpooled z; G test                `stats.proportions.score_test`, `stats.proportions.wald_difference`,
                                            `stats.proportions.g_test`
Newcombe; Agresti-Caffo                     `stats.proportion_intervals.newcombe`,
                                            `stats.proportion_intervals.agresti_caffo`
Miettinen-Nurminen, Mee                     `stats.proportion_intervals.score_interval`
Koopman, ratio of proportions               `stats.proportion_intervals.ratio_score_interval`
Wilson; Clopper-Pearson                     `stats.proportion_intervals.wilson`,
                                            `stats.proportion_intervals.clopper_pearson`
Fisher; Boschloo                            `stats.exact_tables.fisher`, `stats.exact_tables.boschloo`
Katz, log ratio of proportions              `stats.proportions.katz_log_ratio`
Small cells: lift and margin                `stats.small_cells.compare_small_cells`,
                                            `stats.small_cells.relative_margin_score`
Ratio metrics, delta method                 `stats.ratios.ratio_effect`
Relative lift, Fieller; delta; log          `stats.lift.fieller`, `stats.lift.delta_lift`, `stats.lift.log_lift`
CUPED; Lin's regression                     `stats.adjustment.cuped`, `stats.adjustment.regression_adjustment`
Lin's regression from rows (HC0 to HC3)     `stats.regression.regression_effect`
Post-stratification                         `stats.strata.post_stratify`
Missing covariates                          `stats.covariates.fill_missing`
Quantile; of clustered events               `stats.quantiles.quantile`, `stats.quantiles.clustered_quantile`
Quantile over time; of clustered events     `stats.standing_values.StandingValues`,
                                            `stats.standing_values.clustered_quantiles_over_time`
Difference of quantiles; relative           `stats.quantiles.quantile_effect`,
                                            `stats.quantiles.relative_quantile_effect`
Winsorising, pooled or fixed cuts           `stats.winsor.pooled_cuts`, `stats.winsor.fixed_cuts`,
                                            `stats.winsor.winsorised_moments`
Bootstrap of means; of any statistic        `stats.bootstrap.bootstrap_effect`, `stats.bootstrap.bootstrap_statistic`
Bootstrap enumerated; Poisson               `stats.bootstrap.exact_bootstrap_mean`, `stats.resampling.resampled_means`
Permutation test                            `stats.permutation.permutation_test`
Mann-Whitney; Brunner-Munzel                `stats.ranks.mann_whitney`, `stats.ranks.brunner_munzel`
Bonferroni, Holm, Hochberg, Hommel, BH, BY  `stats.multiplicity.adjust_p_values`
Fixed sequence; FCR intervals               `stats.multiplicity.fixed_sequence`, `stats.multiplicity.fcr_intervals`
Dunnett; its critical value                 `stats.dunnett.dunnett`, `stats.dunnett.dunnett_critical_value`
e-BH; p-value to e-value                    `stats.e_values.e_benjamini_hochberg`, `stats.e_values.p_to_e`
Sample ratio, chi-square; exact, two arms   `stats.sample_ratio.sample_ratio_test`,
                                            `stats.sample_ratio.binomial_sample_ratio`
Cluster-robust; few clusters (CR2)          `stats.clusters.cluster_effect`, `stats.clusters.few_clusters_effect`
Bayesian, rates                             `stats.bayes.beta_posterior`, `stats.bayes.compare_rates`
Bayesian, normal                            `stats.bayes.normal_posterior`, `stats.bayes.compare_normal`
Verdicts; decision; error rates             `stats.verdicts.success_verdict`, `stats.verdicts.guardrail_verdict`,
                                            `stats.decision.decide`, `stats.decision.error_rates`
Meta-analysis                               `stats.meta_analysis.meta_analysis`
Variance between studies                    `stats.between_study_variance.between_study_variance`
Shrinkage, empirical Bayes; James-Stein     `stats.shrinkage.empirical_bayes`, `stats.shrinkage.james_stein`
Winner's curse, one effect; a programme     `stats.winners_curse.conditional_estimate`,
                                            `stats.winners_curse.total_effect`
Segments; two experiments; novelty          `stats.heterogeneity.segment_heterogeneity`,
                                            `stats.heterogeneity.experiment_interaction`,
                                            `stats.heterogeneity.novelty_trend`
Difference in differences                   `stats.difference_in_differences.difference_in_differences`,
                                            `stats.difference_in_differences.paired_difference_in_differences`
Interrupted series, HAC; AR(1)              `stats.interrupted_series.interrupted_time_series`,
                                            `stats.interrupted_series.interrupted_time_series_ar1`
Effect found at a reached precision         `stats.precision.detectable_effect`
Units for more: to find; to exclude         `stats.precision.units_factor`, `stats.precision.units_factor_to_exclude`
Stepped wedge                               `stats.stepped_wedge.stepped_wedge`
==========================================  ==============================================================
"""
