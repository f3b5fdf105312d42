"""Pure mathematics of experiments: arrays of cells in, arrays of cells out. No I/O, no clock."""
