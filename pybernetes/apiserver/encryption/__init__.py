"""Encryption at rest: what an ``EncryptionConfiguration`` asks for (`config`), how a value is sealed (`providers`), and
the store that seals and opens values on their way (`store`).

Without a configuration none of this is made, and values pass by it.
"""
