"""The demo workspace: real and generated experiments whose truth is known."""
