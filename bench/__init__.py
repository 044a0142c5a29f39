"""Reproducible benchmarks: each figure beside a floor that is measured in the same run, on the same machine.

The load comes from this process, over TLS, against servers in processes of their own: `p8s server` as users start it,
and a bare aiohttp handler that answers with the same bytes. `python -m bench` runs all figures; see `__main__`.
"""
