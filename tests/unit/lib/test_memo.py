from __future__ import annotations

from pybernetes.lib.memo import Memo


def test_the_least_recently_used_go_first() -> None:
    memo: Memo[int] = Memo(1600)
    for i in range(16):
        memo.put(b"%100d" % i, i)
    assert memo.get(b"%100d" % 0) == 0
    memo.put(b"%100d" % 16, 16)
    assert memo.get(b"%100d" % 1) is None
    assert (memo.get(b"%100d" % 0), memo.get(b"%100d" % 16), len(memo)) == (0, 16, 16)


def test_one_key_does_not_push_out_all_others() -> None:
    memo: Memo[int] = Memo(1600)
    memo.put(b"small", 1)
    memo.put(b"x" * 1000, 2)
    assert memo.get(b"x" * 1000) is None and memo.get(b"small") == 1
