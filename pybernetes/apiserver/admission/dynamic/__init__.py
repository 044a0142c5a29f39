"""Admission that users configure: webhooks and policies. What they share: which requests they are for (`matching`), how
a request looks in the version that they ask for (`views`), and when mutation is repeated (`reinvocation`)."""
