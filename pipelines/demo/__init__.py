"""The demo workspace: real and generated experiments whose truth is known."""

from pipelines.demo.workspace import build_demo

__all__ = ["build_demo"]
