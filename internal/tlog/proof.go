package tlog

import (
	"bytes"
	"fmt"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// MaxProof is the largest proof file in bytes that is read: the largest leaf
// and checkpoint and a path of 64 hashes, with room for their encoding.
const MaxProof = MaxCheckpoint + MaxLeaf*4/3 + 8<<10

// maxProofHashes is the height of a tree of MaxSize leaves.
const maxProofHashes = 53

// Proof shows without a network that a leaf is in a log: the leaf, where it
// stands, the path to the root, and the log's signature of that root. In a
// file it has the form c2sp.org/tlog-proof@v1, the leaf being the extra data.
type Proof struct {
	Index      int64
	Leaf       []byte // the whole text
	Hashes     []Hash // from the leaf's sibling upwards
	Checkpoint []byte // the signed note
}

// Marshal returns the text of the proof file (tlog-proof, "Format"), whose
// customary name is that of what it proves with .tlog-proof behind it.
func (p Proof) Marshal() []byte {
	hashes := make([][sumdb.HashSize]byte, len(p.Hashes))
	for i, h := range p.Hashes {
		hashes[i] = h
	}
	return proof.TLogProof{
		Index:      uint64(p.Index),
		Hashes:     hashes,
		Checkpoint: p.Checkpoint,
		ExtraData:  p.Leaf,
	}.Marshal()
}

// ParseProof reads a proof file. It checks the form alone, and that there is
// only one: what it accepts, Marshal gives back. Invalid when the text is
// something else, lacks the leaf or is over a limit; Verify checks the rest.
func ParseProof(text []byte) (Proof, error) {
	if len(text) > MaxProof {
		return Proof{}, badProof("it has more than %d bytes", MaxProof)
	}
	var file proof.TLogProof
	if err := file.Unmarshal(text); err != nil {
		return Proof{}, badProof("%v", err)
	}
	switch {
	case len(file.ExtraData) == 0:
		return Proof{}, badProof("the line with the log entry is missing")
	case len(file.ExtraData) > MaxLeaf:
		return Proof{}, badProof("its log entry has more than %d bytes", MaxLeaf)
	case file.Index >= MaxSize:
		return Proof{}, badProof("its index is over %d", int64(MaxSize)-1)
	case len(file.Hashes) > maxProofHashes:
		return Proof{}, badProof("it has more than %d hashes", maxProofHashes)
	case !bytes.Equal(file.Marshal(), text):
		return Proof{}, badProof("it has an unusual spelling")
	}
	p := Proof{
		Index:      int64(file.Index),
		Leaf:       file.ExtraData,
		Checkpoint: file.Checkpoint,
		Hashes:     make([]Hash, len(file.Hashes)),
	}
	for i, h := range file.Hashes {
		p.Hashes[i] = h
	}
	return p, nil
}

func badProof(format string, args ...any) error {
	return problem.New(problem.Invalid, "proof-malformed", "this is not a proof file: %s", fmt.Sprintf(format, args...)).
		Suggest("fetch the .tlog-proof file again")
}

// Verify checks the whole proof (tlog-proof, "Verifying a tlog proof"): the
// log's signature as in OpenCheckpoint, the path from the leaf to the signed
// root, and that the leaf is one. It returns what is then proven to be logged;
// that the leaf speaks of the archive at hand is for the caller to compare.
//
// Disproven when a check fails; Invalid when a part is malformed; Unsupported
// when the proven leaf is of a type that this version does not know.
func (p Proof) Verify(origin string, verifiers note.Verifiers) (Checkpoint, Leaf, error) {
	cp, err := OpenCheckpoint(p.Checkpoint, origin, verifiers)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	if err := VerifyInclusion(cp.Root, cp.Size, p.Index, LeafHash(p.Leaf), p.Hashes); err != nil {
		return Checkpoint{}, nil, err
	}
	leaf, err := ParseLeaf(p.Leaf)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	return cp, leaf, nil
}
