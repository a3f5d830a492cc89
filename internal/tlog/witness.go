package tlog

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Limits of a request to a witness (tlog-witness, "add-checkpoint").
const (
	MaxWitnessRequest = MaxCheckpoint + 4<<10 // bytes
	maxWitnessHashes  = 63
)

// WitnessRequest asks a witness to cosign a checkpoint, with the proof that it
// continues the one of Old leaves that the witness saw last (tlog-witness,
// "add-checkpoint").
type WitnessRequest struct {
	Old        int64
	Proof      []Hash // empty when Old is 0 or the size of the checkpoint
	Checkpoint []byte // the signed note
}

// Marshal returns the body of the request.
func (r WitnessRequest) Marshal() []byte {
	b := strconv.AppendInt([]byte("old "), r.Old, 10)
	b = append(b, '\n')
	for _, h := range r.Proof {
		b = base64.StdEncoding.AppendEncode(b, h[:])
		b = append(b, '\n')
	}
	b = append(b, '\n')
	return append(b, r.Checkpoint...)
}

// ParseWitnessRequest reads the body of a request. It checks the form of all
// that stands before the checkpoint, and nothing of the checkpoint. Invalid
// when it has not the form; what it accepts, Marshal gives back.
func ParseWitnessRequest(body []byte) (WitnessRequest, error) {
	if len(body) > MaxWitnessRequest {
		return WitnessRequest{}, problem.New(problem.TooLarge, "witness-request", "the request has more than %d bytes", MaxWitnessRequest)
	}
	head, checkpoint, ok := bytes.Cut(body, []byte("\n\n"))
	if !ok {
		return WitnessRequest{}, badRequest("no empty line stands before the checkpoint")
	}
	lines := strings.Split(string(head), "\n")
	old, ok := strings.CutPrefix(lines[0], "old ")
	size, err := strconv.ParseInt(old, 10, 64)
	if !ok || err != nil || size < 0 || strconv.FormatInt(size, 10) != old {
		return WitnessRequest{}, badRequest("it does not begin with the old size")
	}
	if len(lines)-1 > maxWitnessHashes {
		return WitnessRequest{}, badRequest("its proof has more than %d lines", maxWitnessHashes)
	}
	r := WitnessRequest{Old: size, Checkpoint: bytes.Clone(checkpoint)}
	for i, line := range lines[1:] {
		h, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(h) != sumdb.HashSize || strings.Contains(line, "\r") {
			return WitnessRequest{}, badRequest("line %d of its proof is no hash", i+1)
		}
		r.Proof = append(r.Proof, Hash(h))
	}
	return r, nil
}

func badRequest(format string, args ...any) error {
	return problem.New(problem.Invalid, "witness-request", "this is no request to cosign: "+format, args...)
}

// WitnessAnswer is what a witness answered, as it was received: nothing of it
// is believed before ReadCosignature took it.
type WitnessAnswer struct {
	Status int           // of HTTP: 200, 400, 403, 404, 409 or 422 by the specification
	Lines  []byte        // with 200: signature lines
	Size   int64         // with 409: the size that the witness saw last
	Reason string        // with others: the first line of what it said, printable
	Again  time.Duration // when it asked to be asked again; 0 when it did not say
}

// MarshalWitnessSize is the body of the answer 409, and MediaWitnessSize its
// media type.
func MarshalWitnessSize(size int64) []byte { return append(strconv.AppendInt(nil, size, 10), '\n') }

// MediaWitnessSize is the media type of a size in an answer.
const MediaWitnessSize = "text/x.tlog.size"

// ParseWitnessSize reads the body of the answer 409.
func ParseWitnessSize(body []byte) (int64, error) {
	text, ok := strings.CutSuffix(string(body), "\n")
	size, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil || size < 0 || size > MaxSize || strconv.FormatInt(size, 10) != text {
		return 0, problem.New(problem.Invalid, "witness-size", "the witness's answer is no size of a log")
	}
	return size, nil
}
