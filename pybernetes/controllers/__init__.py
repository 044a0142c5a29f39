"""The controllers: one package each, `plan` pure and `loop` watching and applying; `manager` runs them all."""
