# SPDX-License-Identifier: MIT
"""Figures of others that ./bench cites, and our goals, for the rows that exist.

Owns: the numbers; docs/figures.md says how they were measured. A row's name is followed by what it
means, its goal, and the cited figures by architecture ("" on the host).
Needs: nothing. Called by: bench.py.
"""


class Anchor:
    def __init__(self, meaning, goal=None, cited=None):
        self.meaning, self.goal, self.cited = meaning, goal, cited or {}


def linux(meaning, goal, x86_64, x86_32, pae):
    """A row of Linux 6.1 under the same QEMU; the goal is the one on x86-64."""
    return Anchor(meaning, goal, {"x86_64": {"linux-6.1": x86_64}, "x86_32": {"linux-6.1": x86_32},
                                  "x86_32_pae": {"linux-6.1": pae}})


def host(meaning, goal, **cited):
    return Anchor(meaning, goal, {"": {name.replace("_", "-"): value
                                       for name, value in cited.items()}})


ANCHORS = {
    "frames.pair0": linux("one frame, alloc + free", 60, 703, 674, 674),
    "frames.pair9": linux("512 frames, alloc + free", 100, 9969, 18332, 10471),
    "frames.batch": Anchor("64 frames a call, alloc + free, a frame"),
    "frames.hot50": host("pair at 50 % full", 4, llfree=71, buddy_alloc=221, bitmap=3),
    "frames.hot50_pinned": host("the same, flags saved and restored around each call", 9),
    "frames.hot95": host("pair at 95 % full", None),
    "frames.churn50": host("random free + alloc, 50 % full", 15, llfree=143, buddy_alloc=581,
                           bitmap=1538),
    "frames.churn95": host("random free + alloc, 95 % full", 17, llfree=209, buddy_alloc=718,
                           bitmap=4996),
    "frames.bulk_alloc": host("all frames one by one, a frame", 2.5, llfree=44, buddy_alloc=120,
                              bitmap=4695),
    "frames.bulk_free": host("random order, a frame", 7, llfree=34, buddy_alloc=81, bitmap=1),
    "frames.batch_alloc": host("all frames, 64 a call, a frame", 2.5),
    "frames.batch_free": host("in the same batches, a frame", None),
    "frames.hot_2m": host("2 MiB pair", 7.5, llfree=69, buddy_alloc=228, bitmap=1314),
    "frames.hot_2t": host("pair at 50 % full, each of 2 threads", 5, llfree=75, buddy_alloc=327),
    "frames.churn_2t": host("random free + alloc at 50 %, each of 2 threads", 25, llfree=166,
                            buddy_alloc=938),
    "frames.recovery": host("2 MiB blocks of 1,024 after 4 M pairs", 905, llfree=488,
                            buddy_alloc=875, bitmap=0),
    "frames.recovery_16m": host("after 16 M pairs", 1005, llfree=968),
    "frames.recovery_bursts": host("after 4 M pairs in bursts of up to 64", None),
    "frames.recovery_mixed": host("after 4 M pairs of orders 0 to 3", None),
    # The same at four sizes of memory: the goal is that they do not differ.
    **{f"frames.{pair}_{size}": host(f"{meaning}, {text}", None)
       for pair, meaning in (("hot_2m", "2 MiB pair"), ("churn50", "random free + alloc"),
                             ("hot50", "pair"))
       for size, text in (("256m", "256 MiB"), ("4g", "4 GiB"), ("64g", "64 GiB"),
                          ("1t", "1 TiB"))},
    # The goal is 34,816 bytes a GiB and 256 a CPU; the row has 4 GiB and 16 CPUs.
    "frames.metadata": host("bookkeeping, a GiB of memory", 34816 + 256 * 16 // 4, llfree=37248,
                            buddy_alloc=131133, bitmap=32768),
    "heap.hot64": host("64 bytes, alloc + free", 4, mimalloc=5.4, snmalloc=3.4, tcmalloc=4.1,
                       jemalloc=4.0, glibc=7.5, tlsf=15),
    "heap.churn1k": host("16 B-8 KiB, 1,000 live", 9, mimalloc=14, snmalloc=12, tcmalloc=10,
                         jemalloc=16, glibc=49, tlsf=50),
    "heap.churn10k": host("16 B-8 KiB, 10,000 live", 11, mimalloc=17, snmalloc=17, tcmalloc=11,
                          jemalloc=21, glibc=67, tlsf=64),
    "heap.churn80k": host("16 B-8 KiB, 80,000 live", 35, mimalloc=70, snmalloc=54, tcmalloc=37,
                          jemalloc=53, glibc=255, tlsf=171),
    "heap.remote": host("one thread allocates, one frees: throughput, glibc = 1", 3, mimalloc=2.7,
                        snmalloc=3.4, tcmalloc=1.5, jemalloc=1.0),
    "heap.suite": host("CPU time of 14 workloads and 5 programs, geometric mean", None),
    "heap.peak": host("peak memory of the same, geometric mean", 1.1),
    "heap.fill": host("64 MiB filled to the first failure, 16 B-8 KiB", 90, tlsf=99),
    "heap.fill_later": host("the same after replacing each block 3 times", None, tlsf=95),
    "heap.bookkeeping": host("of 64 MiB", None),
    "heap.fill_embedded": host("4 MiB in the embedded profile, 32 bits", 90),
    "heap.fill_later_embedded": host("the same after replacing each block 3 times", None),
    "heap.bookkeeping_embedded": host("of 4 MiB", 1),
    "heap.text_embedded": host("code of heap + frames in examples/minimal, x86-32, -Os", 12288),
    "kmalloc.pair64": linux("64 bytes, alloc + free", 60, 268, 240, 240),
    "kmalloc.pair1k": linux("1 KiB, alloc + free", 60, 271, 245, 245),
    "kmalloc.pair4k": linux("4 KiB, alloc + free", 80, 271, 245, 245),
    "kmalloc.batch64": linux("alloc in batches of 2,000", 80, 343, 387, 394),
    "kfree.random64": linux("free in random order", 70, 191, 180, 181),
    "valloc.pair16k": linux("16 KiB range, alloc + free", 1500, 4906, 3879, 4242),
    "valloc.pair1m": linux("1 MiB range, alloc + free", 40000, 113803, 220065, 225151),
    "valloc.pair4m": Anchor("4 MiB range, in large pages, alloc + free"),
    "syscall.null": linux("null system call, from ring 3 as all below", 150, 337, 391, 391),
    "fault.anon": linux("first write to a page", 1000, 2880, 3856, 4184),
    "fault.zero": linux("first read of a page: the page of zeros", 400, 1159, 1395, 1665),
    "fault.shared_new": linux("first write to a page of shared memory", 1100, 4384, 5620, 5620),
    "fault.shared_old": linux("the same where the page exists", 450, 2006, 2389, 2389),
    "populate.page": linux("populate 4 MiB, a page", 750, 2993, 4105, 4717),
    "unmap.page": linux("unmap 4 MiB that were touched, a page", 150, 1098, 1195, 1235),
    "map.pair": linux("map + unmap 64 KiB untouched", 1500, 18326, 13128, 13128),
    "map.pair_20k": linux("the same among 20,000 regions, as calls of the library", 2500, 22433,
                          23185, 23222),
    "map.pair_call": Anchor("map + unmap 64 KiB untouched, as calls of the library"),
    "map.pair_10": Anchor("the same among 10 regions"),
    "map.pair_1k": Anchor("among 1,000"),
    "map.pair_100k": Anchor("among 100,000"),
    "map.pair_1m": Anchor("among 1,000,000; a 32-bit user half has no room for them"),
    "populate.page_call": Anchor("populate 1 MiB, a page, as a call of the library"),
    "unmap.page_call": Anchor("unmap 1 MiB that was touched, a page, as a call of the library"),
    "protect.flip_call": Anchor("rights of one touched page flipped, as a call of the library"),
    "protect.flip": linux("rights of one page among others flipped, with half of the fault that a "
                          "write takes after two", 1500, 9694, 9637, 9948),
    "cow.copy": linux("write to a page that a copy shows too", 1100, 3547, 4772, 4772),
    "cow.reuse": linux("the same when the copy is gone", 400, 1267, 1316, 1316),
}
