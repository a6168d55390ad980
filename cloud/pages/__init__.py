"""The collector's pages: server-rendered HTML, every figure a link down toward the frames."""
