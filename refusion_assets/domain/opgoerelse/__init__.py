"""The settling: what a run takes back and settles anew, and its voucher."""
