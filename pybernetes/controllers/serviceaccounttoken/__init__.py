"""Legacy service-account tokens: fills the Secrets that ask for one, and deletes them with their account."""
