package index

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
)

// memSource is a project's fragments in memory, with the history of changes.
type memSource struct {
	keys      []Key // in index order
	fragments map[Key][]byte
	changes   []Key // changes[i] made generation i+1
	scanned   int   // fragments handed out
}

func newMemSource() *memSource { return &memSource{fragments: map[Key][]byte{}} }

func (s *memSource) generation() int64 { return int64(len(s.changes)) }

// put adds or changes a fragment; a nil fragment removes it.
func (s *memSource) put(k Key, fragment []byte) {
	i, found := slices.BinarySearchFunc(s.keys, k, Key.Compare)
	switch {
	case fragment == nil && found:
		s.keys = slices.Delete(s.keys, i, i+1)
		delete(s.fragments, k)
	case fragment != nil && !found:
		s.keys = slices.Insert(s.keys, i, k)
	}
	if fragment != nil {
		s.fragments[k] = fragment
	}
	s.changes = append(s.changes, k)
}

func (s *memSource) Range(ctx context.Context, from, to Key, fn func(Key, []byte) error) error {
	i, _ := slices.BinarySearchFunc(s.keys, from, Key.Compare)
	for _, k := range s.keys[i:] {
		if to != (Key{}) && k.Compare(to) >= 0 {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		f, ok := s.fragments[k]
		if !ok {
			continue
		}
		s.scanned++
		if err := fn(k, f); err != nil {
			return err
		}
	}
	return nil
}

func (s *memSource) Since(_ context.Context, gen, upto int64, fn func(Key) error) error {
	for _, k := range s.changes[gen:upto] {
		if err := fn(k); err != nil {
			return err
		}
	}
	return nil
}

// document is the JSON document written the plain way.
func (s *memSource) document(head string) string {
	var b strings.Builder
	b.WriteString(head)
	prev := ""
	for _, k := range s.keys {
		switch prev {
		case k.Chart:
			b.WriteString(",")
		case "":
			fmt.Fprintf(&b, "%q:[", k.Chart)
		default:
			fmt.Fprintf(&b, "],%q:[", k.Chart)
		}
		b.Write(s.fragments[k])
		prev = k.Chart
	}
	if prev != "" {
		b.WriteString("]")
	}
	return b.String() + "}}\n"
}

var testHead = Head{Generated: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}

const testHeadText = `{"apiVersion":"v1","generated":"2026-03-04T05:06:07Z","entries":{`

var words = strings.Fields(`cluster service ingress replica volume secret config
map deployment stateful daemon namespace metrics exporter operator controller
webhook certificate issuer gateway proxy cache queue broker topic partition
storage bucket database schema migration backup restore snapshot retention
probe liveness readiness startup resource limit request affinity toleration
selector annotation label policy network egress port protocol endpoint address`)

// synthetic makes a release's entry of about 2 KB with the members that large
// public repositories carry. Nothing but names repeats from one to the next,
// so it packs worse than real entries do.
func synthetic(name, version string, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, uint64(len(name))))
	word := func() string { return words[r.IntN(len(words))] }
	sentence := func(n int) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(word())
		}
		return b.String()
	}
	m := chart.Metadata{
		APIVersion: "v2", Name: name, Version: version, Type: "application", KubeVersion: ">=1.25.0-0",
		AppVersion:  fmt.Sprintf("%d.%d.%d", r.IntN(9), r.IntN(30), r.IntN(30)),
		Description: "A chart that runs " + name + ": " + sentence(12+r.IntN(14)),
		Home:        "https://charts.example.test/" + name,
		Icon:        "https://charts.example.test/icons/" + name + ".svg",
	}
	for range 3 + r.IntN(6) {
		m.Keywords = append(m.Keywords, word())
	}
	for range 1 + r.IntN(3) {
		m.Sources = append(m.Sources, "https://git.example.test/"+word()+"/"+name)
	}
	for range 1 + r.IntN(3) {
		w := word()
		m.Maintainers = append(m.Maintainers, chart.Maintainer{Name: w + "-team", Email: w + "@example.test", URL: "https://example.test/" + w})
	}
	for range r.IntN(4) {
		d := word()
		m.Dependencies = append(m.Dependencies, chart.Dependency{
			Name: d, Version: fmt.Sprintf("%d.x.x", 1+r.IntN(20)), Repository: "oci://registry.example.test/charts",
			Condition: d + ".enabled", Tags: []string{word()},
		})
	}
	var changes, images strings.Builder
	for range 1 + r.IntN(4) {
		fmt.Fprintf(&changes, "- kind: %s\n  description: %s\n", []string{"added", "changed", "fixed", "security"}[r.IntN(4)], sentence(6+r.IntN(12)))
	}
	for range 1 + r.IntN(4) {
		w := word()
		fmt.Fprintf(&images, "- name: %s\n  image: registry.example.test/%s/%s:%d.%d.%d\n", w, name, w, r.IntN(9), r.IntN(30), r.IntN(30))
	}
	m.Annotations = map[string]string{
		"artifacthub.io/changes": changes.String(), "artifacthub.io/images": images.String(),
		"artifacthub.io/license": "Apache-2.0", "artifacthub.io/operator": "false", "category": word(),
	}
	var digest [32]byte
	for i := range digest {
		digest[i] = byte(r.Uint32())
	}
	created := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.IntN(1e9)) * time.Millisecond)
	return Fragment(m, []string{"charts/" + name + "-" + version + ".tgz"}, created, hex.EncodeToString(digest[:]))
}

func syntheticKey(i, j int) (k Key, name, version string) {
	name = fmt.Sprintf("%s-%04d", words[i%len(words)], i)
	version = fmt.Sprintf("%d.%d.%d", 1+j/100, j/10%10, j%10)
	return Key{name, fmt.Sprintf("%06d", j)}, name, version
}

// syntheticSource holds n releases, 100 of each chart.
func syntheticSource(n int) *memSource {
	s := newMemSource()
	for i := range n {
		k, name, version := syntheticKey(i/100, i%100)
		s.fragments[k] = synthetic(name, version, uint64(i))
		s.keys = append(s.keys, k)
		s.changes = append(s.changes, k)
	}
	slices.SortFunc(s.keys, Key.Compare)
	return s
}

func mustBuild(tb testing.TB, src *memSource, s sizes) *Index {
	tb.Helper()
	ix, err := build(context.Background(), src, src.generation(), s)
	if err != nil {
		tb.Fatal(err)
	}
	return ix
}
