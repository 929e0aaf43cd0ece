//! The rules of RFC 8705 and its neighbours: values in, verdict out.
