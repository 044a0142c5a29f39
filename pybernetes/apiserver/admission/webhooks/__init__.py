"""Dynamic admission by webhooks: configurations (`configuration`), what is sent and understood (`review`), the call
(`caller`), and the two plugins (`plugins`)."""
