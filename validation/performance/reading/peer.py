#!/usr/bin/env python3
"""One h5py read a cell: peer.py STORE CELLS SECONDS PROCESSES

CELLS: text of `cells ... check`, cell number and sum of its dense row. Every process reads rows of its share of them for SECONDS into a dense
float32 array, genes from /cells/gene and values from /cells/value between the cell's two offsets, which are in memory; prints cells/s of all
together. Sums that differ are an error.
"""
import multiprocessing
import sys
import time

import h5py
import numpy

path, listed, seconds, processes = sys.argv[1], numpy.loadtxt(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])


def read(rank, barrier, results):
    with h5py.File(path, "r") as file:
        gene, value, offset = file["cells/gene"], file["cells/value"], file["cells/offset"][:]
        dense = numpy.zeros((256, file["genes/name"].shape[0]), numpy.float32)
        cells, sums = listed[rank::processes, 0].astype(int), listed[rank::processes, 1]
        barrier.wait()
        start, done, wrong = time.monotonic(), 0, 0
        while time.monotonic() - start < seconds:
            at = done % len(cells)
            first, end = offset[cells[at]], offset[cells[at] + 1]
            row = dense[done % 256]
            row[:] = 0
            row[gene[first:end]] = value[first:end] / numpy.float32(10)
            if done < 500:
                wrong += abs(row.sum(dtype=float) - sums[at]) > 1e-5 * abs(sums[at])
            done += 1
        results.put((done / (time.monotonic() - start), wrong))


barrier, results = multiprocessing.Barrier(processes), multiprocessing.Queue()
workers = [multiprocessing.Process(target=read, args=(rank, barrier, results)) for rank in range(processes)]
for worker in workers:
    worker.start()
answers = [results.get() for _ in workers]
for worker in workers:
    worker.join()
if any(wrong for _, wrong in answers):
    sys.exit("the rows read by h5py are not those read by the program")
print(f"{sum(rate for rate, _ in answers):.0f} cells/s")
