package client

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// SumName is the customary name of the file that a Sum is kept in, beside the
// sources that use the charts and under version control like them.
const SumName = "chartkeep.sum"

// MaxSum is the largest sum file in bytes that is read: 30,000 charts.
const MaxSum = 8 << 20

const (
	sumHead        = "chartkeep.sum/v1"
	maxSumKeys     = 64       // logs and checkpoints, each
	maxSumWord     = 2048     // bytes of a name, a version or an address
	noDoor         = "-"      // of a chart that was verified from a file
	ociScheme      = "oci://" // of a door
	conflictLength = 7        // of git's markers
)

// Sum is what a repository remembers of the charts that it uses: the keys of
// their logs, where these logs stood when they were last verified, and what
// each chart was. Charts that were verified once must never be anything else
// again, and no log may forget what it said.
//
// Its text has a line for each fact, which stands alone: a line that one branch
// adds and another does not may be kept by any merge that keeps both sides
// (git's "union"). After such a merge a log may have several checkpoints; the
// next verification holds them against each other and keeps the newest. Lines
// have one spelling, but any order when they are read; they are written sorted.
type Sum struct {
	Keys        []string // verifier keys of the logs; several of one log while its key changes
	Checkpoints []tlog.Checkpoint
	Charts      []Pin
}

// Pin is what was verified of one release.
type Pin struct {
	Origin string // of the log that has it
	Ref           // exact
	Digest string // of the archive, sha256
	Index  int64  // of its entry in the log
	// Door is where it can be fetched again: the URL of a server, or
	// oci://HOST. "" when it was a file. It is a hint and proves nothing.
	Door string
}

// ParseSum reads the text of a sum file. Invalid for anything but lines in
// their one spelling that agree with each other, with the number of the line;
// TooLarge over MaxSum. The checkpoints' signatures are not checked here. That
// a release has several lines is no error: whoever verifies it sees that not
// all of them can be true.
func ParseSum(text []byte) (Sum, error) {
	switch {
	case len(text) > MaxSum:
		return Sum{}, problem.New(problem.TooLarge, "sum-size", "the sum file has more than %d bytes", MaxSum)
	case bytes.Contains(text, []byte{'\r'}):
		return Sum{}, badSum(1, "it has Windows line ends").Suggest("echo 'chartkeep.sum text eol=lf merge=union' >> .gitattributes")
	case len(text) == 0 || text[len(text)-1] != '\n':
		return Sum{}, badSum(bytes.Count(text, []byte{'\n'})+1, "it has no end: the file was cut off")
	}
	var s Sum
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSuffix(line, "\n")
		if n == 1 {
			if line != sumHead {
				return Sum{}, badSum(n, "it is not %s", sumHead).Suggest("use a version of chartkeep that knows this file")
			}
			continue
		}
		if err := s.read(line); err != nil {
			return Sum{}, atSumLine(n, err)
		}
	}
	if err := s.agree(); err != nil {
		return Sum{}, err
	}
	s.normalise()
	return s, nil
}

// read reads one line.
func (s *Sum) read(line string) error {
	for _, marker := range []string{"<", "=", ">", "|"} {
		if strings.HasPrefix(line, strings.Repeat(marker, conflictLength)) {
			return badLine("it is a conflict of a merge").
				Suggest("keep the lines of both sides, take out the markers, and verify again: that holds them against each other")
		}
	}
	if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return r != ' ' && (unicode.IsSpace(r) || unicode.IsControl(r)) }) {
		return badLine("it has a character that no line has")
	}
	kind, rest, _ := strings.Cut(line, " ")
	words := strings.Split(rest, " ")
	switch kind {
	case "log":
		return s.readLog(words)
	case "checkpoint":
		return s.readCheckpoint(words)
	case "chart":
		return s.readChart(words)
	}
	return badLine("%.40q is not the beginning of a line", kind)
}

func (s *Sum) readLog(words []string) error {
	if len(words) != 1 {
		return badLine("a log has one key")
	}
	v, err := tlog.NewVerifier(words[0])
	if err != nil {
		return err
	}
	if len(s.Keys) == maxSumKeys {
		return problem.New(problem.TooLarge, "sum", "there are more than %d keys", maxSumKeys)
	}
	if !isWord(v.Name()) || !isWord(words[0]) {
		return badLine("a key has a character that is not allowed")
	}
	s.Keys = append(s.Keys, words[0])
	return nil
}

// readCheckpoint makes the signed note again that the line was made from.
func (s *Sum) readCheckpoint(words []string) error {
	if len(words) < 5 || len(words)%2 == 0 {
		return badLine("a checkpoint has an origin, a size, a root, and signatures with a name each")
	}
	if len(s.Checkpoints) == maxSumKeys {
		return problem.New(problem.TooLarge, "sum", "there are more than %d checkpoints", maxSumKeys)
	}
	var text strings.Builder
	text.WriteString(strings.Join(words[:3], "\n") + "\n\n")
	for i := 3; i < len(words); i += 2 {
		text.WriteString("— " + words[i] + " " + words[i+1] + "\n")
	}
	cp, err := tlog.ParseCheckpoint([]byte(text.String()))
	if err != nil {
		return err
	}
	s.Checkpoints = append(s.Checkpoints, cp)
	return nil
}

func (s *Sum) readChart(words []string) error {
	if len(words) != 6 {
		return badLine("a chart has a log, a name, a version, a digest, an index and a door")
	}
	ref, err := ParseRef(words[1] + "@" + words[2])
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(words[4], 10, 64)
	if err != nil {
		return badLine("%.40q is not the index of an entry", words[4])
	}
	p := Pin{Origin: words[0], Ref: ref, Digest: words[3], Index: index, Door: words[5]}
	if p.Door == noDoor {
		p.Door = ""
	}
	if err := p.check(); err != nil {
		return err
	}
	if p.line() != "chart "+strings.Join(words, " ") {
		return badLine("it has an unusual spelling")
	}
	s.Charts = append(s.Charts, p)
	return nil
}

// check says whether a pin can be written.
func (p Pin) check() error {
	if alg, _, err := digest.Split(p.Digest); err != nil || alg != "sha256" {
		return badLine("%.80q is not the SHA-256 digest of an archive", p.Digest)
	}
	if _, err := releasePath(p.Project, p.Chart, p.Version); err != nil || p.Version == "latest" {
		return badLine("%.160q does not name one release", p.Ref.String())
	}
	for _, word := range []string{p.Origin, p.Project + "/" + p.Chart, p.Version, cmp.Or(p.Door, noDoor)} {
		if !isWord(word) {
			return badLine("%.160q cannot stand in it", word)
		}
	}
	if p.Index < 0 || p.Index >= tlog.MaxSize {
		return badLine("%d is not the index of an entry", p.Index)
	}
	if p.Door != "" {
		if _, err := serverOfDoor(p.Door); err != nil {
			return badLine("%.160q is not a door: it is neither the URL of a server nor oci://HOST", p.Door)
		}
	}
	return nil
}

// isWord says whether a text can stand between two spaces of a line.
func isWord(s string) bool {
	return s != "" && len(s) <= maxSumWord && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

func (p Pin) line() string {
	return strings.Join([]string{"chart", p.Origin, p.Project + "/" + p.Chart, p.Version, p.Digest, strconv.FormatInt(p.Index, 10), cmp.Or(p.Door, noDoor)}, " ")
}

// agree checks that each line has the log that it speaks of, and each log the
// checkpoint that covers its charts.
func (s *Sum) agree() error {
	known, size := map[string]bool{}, map[string]int64{}
	for _, key := range s.Keys {
		name, _, _ := strings.Cut(key, "+")
		known[name] = true
	}
	for _, cp := range s.Checkpoints {
		if !known[cp.Origin] {
			return problem.New(problem.Invalid, "sum", "the sum file has a checkpoint of %s, and no key of that log", cp.Origin)
		}
		size[cp.Origin] = max(size[cp.Origin], cp.Size)
	}
	for _, p := range s.Charts {
		if p.Index >= size[p.Origin] {
			return problem.New(problem.Invalid, "sum", "the sum file has %s as entry %d of %s, and no checkpoint of that log that covers it", p.Ref, p.Index, p.Origin)
		}
	}
	return nil
}

// Marshal returns the text of the sum file. Invalid when a value cannot be
// written, such as a version with a space.
func (s Sum) Marshal() ([]byte, error) {
	s.normalise()
	for _, p := range s.Charts {
		if err := p.check(); err != nil {
			return nil, err
		}
	}
	if err := s.agree(); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(sumHead + "\n")
	for _, key := range s.Keys {
		b.WriteString("log " + key + "\n")
	}
	for _, cp := range s.Checkpoints {
		b.WriteString(checkpointLine(cp) + "\n")
	}
	for _, p := range s.Charts {
		b.WriteString(p.line() + "\n")
	}
	return []byte(b.String()), nil
}

// checkpointLine writes a signed checkpoint in one line: what stands in its
// lines, without the dashes of the signatures.
func checkpointLine(cp tlog.Checkpoint) string {
	words := []string{"checkpoint"}
	for line := range strings.Lines(string(cp.Note)) {
		line = strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "— ")
		if line != "" {
			words = append(words, line)
		}
	}
	return strings.Join(words, " ")
}

// normalise sorts the lines and drops those that are there twice. Of a chart
// that two branches fetched through two doors, the first stays.
func (s *Sum) normalise() {
	s.Keys = slices.Compact(slices.Sorted(slices.Values(s.Keys)))
	s.Checkpoints = slices.SortedFunc(slices.Values(s.Checkpoints), func(a, b tlog.Checkpoint) int {
		return cmp.Or(strings.Compare(a.Origin, b.Origin), cmp.Compare(a.Size, b.Size), bytes.Compare(a.Note, b.Note))
	})
	s.Checkpoints = slices.CompactFunc(s.Checkpoints, func(a, b tlog.Checkpoint) bool { return bytes.Equal(a.Note, b.Note) })
	s.Charts = slices.SortedFunc(slices.Values(s.Charts), func(a, b Pin) int {
		return cmp.Or(strings.Compare(a.Origin, b.Origin), strings.Compare(a.Project+"/"+a.Chart, b.Project+"/"+b.Chart), strings.Compare(a.Version, b.Version),
			strings.Compare(a.Digest, b.Digest), cmp.Compare(a.Index, b.Index), compareDoors(a.Door, b.Door))
	})
	s.Charts = slices.CompactFunc(s.Charts, func(a, b Pin) bool {
		return a.Origin == b.Origin && a.Ref == b.Ref && a.Digest == b.Digest && a.Index == b.Index
	})
}

// compareDoors puts no door behind all others.
func compareDoors(a, b string) int {
	if (a == "") != (b == "") {
		return strings.Compare(b, a)
	}
	return strings.Compare(a, b)
}

// Merge returns what is to be kept when s was read, verified and became after,
// while others wrote now in its place: after, and what they added. Checkpoints
// that they added stay beside the new ones until they have been held against
// each other.
func (s Sum) Merge(after, now Sum) Sum {
	out := Sum{Keys: slices.Clone(after.Keys), Charts: slices.Clone(after.Charts), Checkpoints: slices.Clone(after.Checkpoints)}
	for _, key := range now.Keys {
		if !slices.Contains(s.Keys, key) {
			out.Keys = append(out.Keys, key)
		}
	}
	for _, p := range now.Charts {
		if !slices.Contains(s.Charts, p) {
			out.Charts = append(out.Charts, p)
		}
	}
	for _, cp := range now.Checkpoints {
		seen := func(c tlog.Checkpoint) bool { return bytes.Equal(c.Note, cp.Note) }
		same := func(c tlog.Checkpoint) bool { return c.Origin == cp.Origin && c.Size == cp.Size && c.Root == cp.Root }
		if !slices.ContainsFunc(s.Checkpoints, seen) && !slices.ContainsFunc(after.Checkpoints, same) {
			out.Checkpoints = append(out.Checkpoints, cp)
		}
	}
	out.normalise()
	return out
}

// Reference is how a release that is remembered as PROJECT/CHART@VERSION is
// fetched again; not ok when none is, or several logs have one.
func (s Sum) Reference(name string) (Reference, bool) {
	var found []Pin
	for _, p := range s.Charts {
		if p.Ref.String() == name && (len(found) == 0 || found[0].Origin != p.Origin) {
			found = append(found, p)
		}
	}
	if len(found) != 1 || found[0].Door == "" {
		return Reference{}, false
	}
	return found[0].reference(""), true
}

// Doors are where charts were fetched, each once.
func (s Sum) Doors() []string {
	var doors []string
	for _, p := range s.Charts {
		if p.Door != "" {
			doors = append(doors, p.Door)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(doors)))
}

// keysOf are the verifiers of a log's keys among keys that were read before.
func keysOf(keys []string, origin string) note.Verifiers {
	var out []note.Verifier
	for _, key := range keys {
		if v, err := tlog.NewVerifier(key); err == nil && v.Name() == origin {
			out = append(out, v)
		}
	}
	return note.VerifierList(out...)
}

func badLine(format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, "sum", format, args...)
}

func badSum(line int, format string, args ...any) *problem.Error {
	return atSumLine(line, badLine(format, args...))
}

// atSumLine says where a sum file is wrong.
func atSumLine(n int, err error) *problem.Error {
	p, _ := problem.As(err)
	at := *p
	at.Rule, at.Message = "sum", "line "+strconv.Itoa(n)+" of the sum file: "+p.Message
	return &at
}
