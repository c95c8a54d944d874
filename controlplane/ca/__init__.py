"""The certificate authority: who may be whom, and what proves it."""
