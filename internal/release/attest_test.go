package release

import (
	"strings"
	"testing"
	"time"
)

// BenchmarkAttested measures what attest costs a pull once a release was
// attested.
func BenchmarkAttested(b *testing.B) {
	hex := strings.Repeat("a", 64)
	r := &Release{ID: 7, Project: "team-a/web", Chart: "nginx", Version: "1.2.3", Archive: "sha256:" + hex, Content: "sha256:" + hex, Manifest: "sha256:" + hex, Config: "sha256:" + hex,
		Publisher: "usr-0123456789", File: "nginx-1.2.3.tgz", Tag: "1.2.3", Key: "1.2.3", SortKey: "0000100002", State: Active, Size: 50_000, Time: time.Unix(1e9, 0)}
	s := &Service{attested: newAttestedSet()}
	s.attested.add(r.ID, s.attested.sum(r))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.attest(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAttestedSum sees to it that every field that is compared is in the hash.
func TestAttestedSum(t *testing.T) {
	a := newAttestedSet()
	base := Release{ID: 7, State: Yanked, Yank: &YankNote{}}
	sum := a.sum(&base)
	for name, change := range map[string]func(*Release){
		"project": func(r *Release) { r.Project = "x" }, "chart": func(r *Release) { r.Chart = "x" }, "version": func(r *Release) { r.Version = "x" },
		"archive": func(r *Release) { r.Archive = "x" }, "size": func(r *Release) { r.Size = 1 }, "content": func(r *Release) { r.Content = "x" },
		"manifest": func(r *Release) { r.Manifest = "x" }, "config": func(r *Release) { r.Config = "x" }, "provenance": func(r *Release) { r.Provenance = "x" },
		"publisher": func(r *Release) { r.Publisher = "x" }, "file": func(r *Release) { r.File = "x" }, "tag": func(r *Release) { r.Tag = "x" }, "key": func(r *Release) { r.Key = "x" },
		"order": func(r *Release) { r.SortKey = "x" }, "state": func(r *Release) { r.State = Active }, "time": func(r *Release) { r.Time = time.Unix(1, 0) }, "legacy": func(r *Release) { r.Legacy = true },
		"yank reason": func(r *Release) { r.Yank = &YankNote{Reason: "x"} }, "yank text": func(r *Release) { r.Yank = &YankNote{Text: "x"} },
		"yanked by": func(r *Release) { r.Yank = &YankNote{By: "x"} }, "yank leaf": func(r *Release) { r.Yank = &YankNote{LogIndex: 3} },
		"a boundary": func(r *Release) { r.Project, r.Chart = "x\x00", "" },
	} {
		r := base
		change(&r)
		if a.sum(&r) == sum {
			t.Errorf("%s is not in the hash", name)
		}
	}
	other := newAttestedSet()
	if other.sum(&base) == sum {
		t.Error("two processes have the same hash")
	}
}
