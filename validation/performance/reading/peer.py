#!/usr/bin/env python3
"""One h5py read a cell: peer.py FILE CELLS SECONDS PROCESSES

CELLS: text of `cells ... check`, cell number and sum of its dense row. Every process reads rows of its share of them for SECONDS into a dense
float32 array; prints cells/s of all together. FILE is a cell store: genes and values between the cell's two offsets, from data sets held open,
and sums that differ are an error; or the AnnData file it was made from: data sets looked up by name for each cell, as loaders of cell sets
commonly do (its values are counts, which are not compared). Offsets are in memory.
"""
import multiprocessing
import sys
import time

import h5py
import numpy

path, listed, seconds, processes = sys.argv[1], numpy.loadtxt(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])


def read(rank, barrier, results):
    with h5py.File(path, "r") as file:
        anndata = "X" in file
        if anndata:
            offset, genes = file["X/indptr"][:], int(file["X"].attrs["shape"][1])
        else:
            gene, value, offset, genes = file["cells/gene"], file["cells/value"], file["cells/offset"][:], file["genes/name"].shape[0]
        dense = numpy.zeros((256, genes), numpy.float32)
        cells, sums = listed[rank::processes, 0].astype(int), listed[rank::processes, 1]
        barrier.wait()
        start, done, wrong = time.monotonic(), 0, 0
        while time.monotonic() - start < seconds:
            at = done % len(cells)
            first, end = offset[cells[at]], offset[cells[at] + 1]
            row = dense[done % 256]
            row[:] = 0
            if anndata:
                row[file["X/indices"][first:end]] = file["X/data"][first:end]
            else:
                row[gene[first:end]] = value[first:end] / numpy.float32(10)
            if done < 500 and not anndata:
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
