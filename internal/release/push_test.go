package release_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

func TestPush(t *testing.T) {
	r := newRegistry(t)
	archive, rel := r.released("demo", "web", "1.0.0")
	if rel.By != "admin" || rel.Door != "api" || rel.State != release.Active || rel.Legacy {
		t.Fatalf("released %+v", rel)
	}
	got, err := r.served(r.admin, "demo", "web-1.0.0.tgz")
	r.ok(err)
	if !bytes.Equal(got, archive) {
		t.Fatal("other bytes are served")
	}
	m, err := r.GetManifest(r.ctx, r.admin, "demo/web", "1.0.0")
	r.ok(err)
	for _, part := range []string{sum(archive), rel.Config, "application/vnd.cncf.helm.chart.content.v1.tar+gzip"} {
		if !strings.Contains(string(m.Bytes), part) {
			t.Errorf("the manifest lacks %s: %s", part, m.Bytes)
		}
	}
	for _, d := range []string{rel.Archive, rel.Config} {
		b, err := r.OpenBlob(r.ctx, r.admin, "demo/web", d)
		r.ok(err)
		var buf bytes.Buffer
		if _, err := b.WriteTo(&buf); err != nil || sum(buf.Bytes()) != d {
			t.Errorf("blob %s: %v", d, err)
		}
		b.Close()
	}
	detail, err := r.Release(r.ctx, r.admin, "demo", "web", "latest")
	r.ok(err)
	if detail.Release.Archive != rel.Archive || detail.Metadata.Description != "A chart for tests" {
		t.Fatalf("detail %+v", detail)
	}

	// Again, and again by somebody else through another door.
	publisher := r.robot("ci", access.Grant{Role: access.RolePublisher, Project: "demo"})
	for _, c := range []release.Caller{r.admin, through(publisher, audit.DoorChartMuseum)} {
		receipt, err := r.PushArchive(r.ctx, c, "demo", bytes.NewReader(archive), nil, release.PushOptions{Force: true, FileName: "web-1.0.0.tgz"})
		r.ok(err)
		r.proven(&receipt)
		if !receipt.Unchanged || receipt.Release.By != "admin" || receipt.Release.LogIndex != rel.LogIndex {
			t.Fatalf("again: %+v", receipt)
		}
	}
}

func TestPushOverwrite(t *testing.T) {
	r := newRegistry(t)
	archive, rel := r.released("demo", "web", "1.0.0")
	other := charttest.Build(t, "web", "1.0.0", map[string]string{"values.yaml": "replicas: 2\n", "templates/new.yaml": "a: b\n"})
	receipt, err := r.PushArchive(r.ctx, r.admin, "demo", bytes.NewReader(other), nil, release.PushOptions{Force: true})
	p := r.refused(err, problem.Immutable, "overwrite")
	if !strings.Contains(factOf(p, "stored"), rel.Archive) || !strings.Contains(factOf(p, "stored"), "by admin through api") || factOf(p, "offered") != sum(other) ||
		factOf(p, "differs") != "in 2 files: templates/new.yaml added, values.yaml changed" || !strings.Contains(factOf(p, "force"), "changes nothing") ||
		p.Try != "helm package . --version 1.0.1" {
		t.Errorf("facts %v, try %s", p.Facts, p.Try)
	}
	if receipt.Release.Archive != rel.Archive {
		t.Errorf("the standing release is %+v", receipt.Release)
	}
	ev := r.lastEvent()
	if ev.Name != audit.RefusedOverwrite || ev.Before != rel.Archive || ev.After != sum(other) || ev.Detail["file-01"] != "added templates/new.yaml" || ev.Detail["force"] != "ignored" {
		t.Errorf("event %+v", ev)
	}
	got, err := r.served(r.admin, "demo", "web-1.0.0.tgz")
	r.ok(err)
	if !bytes.Equal(got, archive) {
		t.Fatal("other bytes are served")
	}
	// The refused bytes were not even kept.
	if _, err := r.OpenBlob(r.ctx, r.admin, "demo/web", sum(other)); problem.KindOf(err) != problem.NotFound {
		t.Errorf("the refused bytes are there: %v", err)
	}

	// The same files packed otherwise: as little, but said so.
	repacked := append(bytes.Clone(archive[:4]), append([]byte{1, 2, 3, 4}, archive[8:]...)...) // gzip's time
	_, err = r.push("demo", repacked, nil)
	if p := r.refused(err, problem.Immutable, "overwrite"); !strings.Contains(factOf(p, "differs"), "packing alone") {
		t.Errorf("facts %v", p.Facts)
	}
}

func TestPushRefusals(t *testing.T) {
	r := newRegistry(t)
	good := charttest.Build(t, "web", "1.0.0", nil)
	yaml := func(text string) []byte {
		return charttest.BuildFiles(t, map[string]string{"web/Chart.yaml": text, "web/values.yaml": "a: b\n"})
	}
	publisher := r.robot("ci", access.Grant{Role: access.RolePublisher, Project: "demo", Chart: "db*"})
	prereleases := r.robot("nightly", access.Grant{Role: access.RolePublisher, Project: "demo", Versions: access.PrereleaseOnly})
	reader := r.robot("reader", access.Grant{Role: access.RoleReader, Project: "demo"})
	for name, c := range map[string]struct {
		by      release.Caller
		archive []byte
		prov    []byte
		file    string
		kind    problem.Kind
		rule    string
		event   audit.Name
	}{
		"empty":              {archive: nil, kind: problem.Invalid, rule: "archive-gzip", event: audit.RefusedValidation},
		"not gzip":           {archive: []byte("not an archive"), kind: problem.Invalid, rule: "archive-gzip", event: audit.RefusedValidation},
		"half":               {archive: good[:len(good)/2], kind: problem.Invalid, rule: "archive-truncated", event: audit.RefusedValidation},
		"trailing bytes":     {archive: append(bytes.Clone(good), "more"...), kind: problem.Invalid, rule: "archive-trailing-bytes", event: audit.RefusedValidation},
		"no Chart.yaml":      {archive: charttest.BuildFiles(t, map[string]string{"web/values.yaml": ""}), kind: problem.Invalid, rule: "chart-yaml-missing", event: audit.RefusedValidation},
		"leading v":          {archive: charttest.Build(t, "web", "v1.0.0", nil), kind: problem.Invalid, rule: "chart-version", event: audit.RefusedVersion},
		"two numbers":        {archive: charttest.Build(t, "web", "1.0", nil), kind: problem.Invalid, rule: "chart-version", event: audit.RefusedVersion},
		"leading zero":       {archive: charttest.Build(t, "web", "01.0.0", nil), kind: problem.Invalid, rule: "chart-version", event: audit.RefusedVersion},
		"no version":         {archive: yaml("apiVersion: v2\nname: web\n"), kind: problem.Invalid, rule: "chart-version", event: audit.RefusedVersion},
		"upper case":         {archive: charttest.Build(t, "Web", "1.0.0", nil), kind: problem.Invalid, rule: "chart-name-case", event: audit.RefusedValidation},
		"reserved":           {archive: charttest.Build(t, "charts", "1.0.0", nil), kind: problem.Invalid, rule: "chart-name-reserved", event: audit.RefusedValidation},
		"other file name":    {archive: good, file: "web-1.0.1.tgz", kind: problem.Invalid, rule: "file-name-mismatch", event: audit.RefusedMismatch},
		"odd file name":      {archive: good, file: "../web-1.0.0.tgz\x00", kind: problem.Invalid, rule: "file-name-mismatch", event: audit.RefusedMismatch},
		"prov is nothing":    {archive: good, prov: []byte("x"), kind: problem.Invalid, rule: "provenance-format", event: audit.RefusedProvenance},
		"prov is empty":      {archive: good, prov: []byte{}, kind: problem.Invalid, rule: "provenance-format", event: audit.RefusedProvenance},
		"prov of a version":  {archive: good, prov: provenance("web", "1.0.1", good, 0), kind: problem.Invalid, rule: "provenance-version", event: audit.RefusedProvenance},
		"prov of others":     {archive: good, prov: provenance("web", "1.0.0", []byte("x"), 0), kind: problem.Invalid, rule: "provenance-digest", event: audit.RefusedProvenance},
		"prov too large":     {archive: good, prov: make([]byte, 1<<20), kind: problem.TooLarge, rule: "provenance-size", event: audit.RefusedLimit},
		"another's chart":    {by: publisher, archive: good, kind: problem.Denied, rule: "access-denied", event: audit.RefusedAccess},
		"not a pre-release":  {by: prereleases, archive: good, kind: problem.Denied, rule: "access-denied", event: audit.RefusedAccess},
		"reader":             {by: reader, archive: good, kind: problem.Denied, rule: "access-denied", event: audit.RefusedAccess},
		"anonymous":          {by: anybody, archive: good, kind: problem.Unauthenticated, rule: "sign-in-required"},
		"name with newlines": {archive: yaml("apiVersion: v2\nname: \"a\\nb\\0\"\nversion: 1.0.0\n"), kind: problem.Invalid, rule: "chart-name", event: audit.RefusedValidation},
	} {
		t.Run(name, func(t *testing.T) {
			r := r.in(t)
			if c.by.Door == "" {
				c.by = r.admin
			}
			before := r.events()
			_, err := r.PushArchive(r.ctx, c.by, "demo", bytes.NewReader(c.archive), c.prov, release.PushOptions{FileName: c.file})
			p, ok := problem.As(err)
			if !ok || p.Kind != c.kind || p.Rule != c.rule {
				t.Errorf("got %v (kind %s, rule %q), want kind %s, rule %q", err, problem.KindOf(err), ruleOf(err), c.kind, c.rule)
			}
			switch {
			case c.event == "":
				if r.events() != before {
					t.Errorf("event %s", r.lastEvent().Name)
				}
			case r.events() != before+1 || r.lastEvent().Name != c.event || r.lastEvent().Outcome.Result != audit.Denied:
				t.Errorf("event %+v, want %s", r.lastEvent(), c.event)
			}
			r.nothing("demo")
		})
	}
	// All of it was nothing: the name is still free.
	r.released("demo", "web", "1.0.0")
}

func ruleOf(err error) string {
	if p, ok := problem.As(err); ok {
		return p.Rule
	}
	return ""
}

func TestPushWhere(t *testing.T) {
	r := newRegistry(t)
	r.project("plain", release.ProjectOptions{Kind: release.KindArtifacts})
	r.project("old", release.ProjectOptions{Importing: true})
	r.project("gone", release.ProjectOptions{})
	r.ok(r.RemoveProject(r.ctx, r.admin, "gone", "test"))
	archive := charttest.Build(t, "web", "1.0.0", nil)
	for _, c := range []struct {
		project string
		kind    problem.Kind
		rule    string
	}{
		{"plain", problem.Policy, "project-kind"},
		{"old", problem.Conflict, "project-importing"},
		{"gone", problem.Gone, "project-removed"},
		{"none", problem.NotFound, "project"},
		{"demo/web", problem.NotFound, "project"},
		{"", problem.NotFound, "project"},
	} {
		read := false
		_, err := r.PushArchive(r.ctx, r.admin, c.project, readSpy{bytes.NewReader(archive), &read}, nil, release.PushOptions{})
		r.refused(err, c.kind, c.rule)
		if err := r.CanPush(r.ctx, r.admin, c.project); ruleOf(err) != c.rule {
			t.Errorf("%s: asked before, %v", c.project, err)
		}
		if read {
			t.Errorf("%s: the body was read before it was refused", c.project)
		}
	}
	r.ok(r.CanPush(r.ctx, r.admin, "demo"))
}

type readSpy struct {
	io.Reader
	read *bool
}

func (s readSpy) Read(p []byte) (int, error) {
	*s.read = true
	return s.Reader.Read(p)
}

// TestPushBroken has clients that hang up, at any byte.
func TestPushBroken(t *testing.T) {
	r := newRegistry(t)
	archive := charttest.Build(t, "web", "1.0.0", nil)
	before := r.events()
	for n := 0; n < len(archive); n += 37 {
		_, err := r.PushArchive(r.ctx, r.admin, "demo", brokenReader{bytes.NewReader(archive[:n])}, nil, release.PushOptions{})
		r.refused(err, problem.Invalid, "upload-broken")
	}
	if r.events() != before {
		t.Errorf("event %+v", r.lastEvent())
	}
	r.nothing("demo")
	n, err := r.sweepable()
	r.ok(err)
	if n != 0 {
		t.Errorf("%d uploads were left behind", n)
	}
	r.released("demo", "web", "1.0.0")
}

func TestPushProvenance(t *testing.T) {
	r := newRegistry(t)
	archive := charttest.Build(t, "web", "1.0.0", nil)
	first, second := provenance("web", "1.0.0", archive, 1), provenance("web", "1.0.0", archive, 2)
	receipt, err := r.push("demo", archive, first)
	r.ok(err)
	r.proven(&receipt)
	_, got, err := r.Provenance(r.ctx, r.admin, "demo", "web-1.0.0.tgz.prov")
	r.ok(err)
	if !bytes.Equal(got, first) {
		t.Fatalf("provenance %q", got)
	}
	receipt, err = r.push("demo", archive, first)
	r.ok(err)
	if !receipt.Unchanged {
		t.Fatal("released twice")
	}
	_, err = r.push("demo", archive, second)
	r.refused(err, problem.Immutable, "provenance-held")
	receipt, err = r.push("demo", archive, nil)
	r.ok(err)
	if !receipt.Unchanged || receipt.Release.Provenance != sum(first) {
		t.Fatalf("got %+v", receipt)
	}

	// It may come with a second push, once, or alone.
	for i, late := range []func(name string, archive, prov []byte) (release.Receipt, error){
		func(_ string, archive, prov []byte) (release.Receipt, error) { return r.push("demo", archive, prov) },
		func(_ string, _, prov []byte) (release.Receipt, error) {
			return r.AttachProvenance(r.ctx, r.admin, "demo", prov)
		},
	} {
		name := fmt.Sprintf("late-%d", i)
		archive, rel := r.released("demo", name, "1.0.0")
		receipt, err := late(name, archive, provenance(name, "1.0.0", archive, 1))
		r.ok(err)
		r.proven(&receipt)
		if receipt.Release.Provenance == "" || receipt.Release.LogIndex != rel.LogIndex || receipt.Release.Manifest != rel.Manifest {
			t.Fatalf("got %+v", receipt.Release)
		}
		_, err = late(name, archive, provenance(name, "1.0.0", archive, 2))
		r.refused(err, problem.Immutable, "provenance-held")
	}
}

func TestAttachRefusals(t *testing.T) {
	r := newRegistry(t)
	archive, _ := r.released("demo", "web", "1.0.0")
	attach := func(c release.Caller, project string, prov []byte) error {
		_, err := r.AttachProvenance(r.ctx, c, project, prov)
		return err
	}
	good := provenance("web", "1.0.0", archive, 1)
	r.refused(attach(r.admin, "demo", []byte("x")), problem.Invalid, "provenance-format")
	r.refused(attach(r.admin, "demo", provenance("web", "1.0.1", archive, 1)), problem.NotFound, "release")
	r.refused(attach(r.admin, "demo", provenance("web", "1.0.0", []byte("x"), 1)), problem.Invalid, "provenance-digest")
	if ev := r.lastEvent(); ev.Name != audit.ProvRefused {
		t.Errorf("event %+v", ev)
	}
	r.refused(attach(r.admin, "none", good), problem.NotFound, "project")
	r.refused(attach(anybody, "demo", good), problem.Unauthenticated, "sign-in-required")
	reader := r.robot("reader", access.Grant{Role: access.RoleReader, Project: "demo"})
	r.refused(attach(reader, "demo", good), problem.Denied, "access-denied")
	db := r.robot("db", access.Grant{Role: access.RolePublisher, Project: "demo", Chart: "db"})
	r.refused(attach(db, "demo", good), problem.Denied, "access-denied")
	r.ok(attach(r.admin, "demo", good))
}
