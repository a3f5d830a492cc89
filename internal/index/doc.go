// Package index is a project's classic repository index (index.yaml) held as
// ready-made pieces, so that a push changes one piece and a reader is answered
// by joining pieces.
//
// The model. A fragment is the JSON object of one release. Fragments stand in
// index order: charts by name, the versions of a chart newest first. A piece is
// a run of whole fragments, 128 to 256 KiB of JSON, kept only as DEFLATE
// (RFC 1951) that ends with a sync flush and has no final block. An Index is
// an immutable list of pieces at one generation of the project.
//
// What always holds:
//
//   - A piece begins and ends with a fragment's brace. The text between two
//     pieces (a comma, or the end of one chart's list and the start of the
//     next) belongs to neither; like the head and the foot of the document it
//     is written as a stored DEFLATE block when the document is written.
//     Hence no piece depends on its neighbour, and the head can differ from
//     reader to reader.
//   - Where a piece ends follows from the fragments in it alone, by their keys
//     and lengths. Hence an index that was updated step by step is, byte for
//     byte, the index built from nothing, compressed form included, and all
//     replicas that run the same build of the program serve the same bytes.
//   - The compressed document is one gzip member (RFC 1952 §2.2). Its CRC-32
//     is computed from the pieces' checksums by arithmetic in GF(2)[x]; nothing
//     is inflated or compressed to serve it.
//   - The document is JSON (RFC 8259), which is valid YAML 1.2; [Index.WriteYAML]
//     writes the same data as block style YAML for whoever asks for that.
//
// The format of the document is that of a Helm chart repository
// (apiVersion v1, as Helm 3 and 4 read it), with serverInfo.contextPath as the
// ChartMuseum clients read it.
//
// The package does no I/O and starts no goroutine. Fragments come from a
// [Source]; ctx is only handed on to it.
package index
