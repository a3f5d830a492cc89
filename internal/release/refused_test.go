package release_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/blob"
)

// fullDisk is a store of copies that has no room.
type fullDisk struct{ release.CopyStore }

func (fullDisk) Begin(context.Context) (release.Upload, error) {
	return nil, errors.New("no space left on device")
}

// keeping makes a registry that keeps copies, with bounds of its own.
func keeping(t *testing.T, change func(*release.RefusedConfig)) *registry {
	t.Helper()
	copies, err := blob.OpenDir(filepath.Join(t.TempDir(), "refused"))
	if err != nil {
		t.Fatal(err)
	}
	return newRegistry(t, func(c *release.Config) {
		c.Refused = release.RefusedConfig{Copies: copies, Rows: c.Store.(release.RefusedRows), Keep: 24 * time.Hour}
		if change != nil {
			change(&c.Refused)
		}
	})
}

func (r *registry) copies(project string) []release.RefusedCopy {
	r.Helper()
	list, err := r.RefusedCopies(r.ctx, r.admin, project, 0)
	r.ok(err)
	return list
}

// overwritten is what the newest event of a refused overwrite says of the copy.
func (r *registry) overwritten() string {
	r.Helper()
	list, err := r.Audit(r.ctx, r.admin, release.AuditFilter{Action: string(audit.RefusedOverwrite), Limit: 1})
	r.ok(err)
	if len(list) != 1 {
		r.Fatal("no refused overwrite")
	}
	return list[0].Event.Detail["copy"]
}

func other(r *registry, n string) []byte {
	return charttest.Build(r, "web", "1.0.0", map[string]string{"other": n})
}

// TestRefusedCopies offers other bytes for a release through each door. What
// was offered is kept once, is read by who may read the trail, and is served
// by no door.
func TestRefusedCopies(t *testing.T) {
	r := keeping(t, nil)
	_, err := r.push("demo", other(r, "released"), nil)
	r.ok(err)
	classic := other(r, "classic")
	for range 2 {
		_, err := r.push("demo", classic, nil)
		r.refused(err, problem.Immutable, "overwrite")
		if got := r.overwritten(); got != "kept" {
			t.Errorf("the event says %q", got)
		}
	}
	oci := newOCIChart(t, "web", "1.0.0")
	_, err = r.putChart("demo/web", "1.0.0", oci)
	r.refused(err, problem.Immutable, "overwrite")
	list := r.copies("demo")
	if len(list) != 2 || list[1].Digest != sum(classic) || list[1].Times != 2 || list[0].Digest != sum(oci.archive) || list[1].Version != "1.0.0" || list[1].Size != int64(len(classic)) {
		t.Fatalf("copies %+v", list)
	}
	for _, want := range [][]byte{classic, oci.archive} {
		_, f, err := r.OpenRefused(r.ctx, r.admin, "demo", sum(want))
		r.ok(err)
		got, err := io.ReadAll(f)
		r.ok(errors.Join(err, f.Close()))
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes of a copy of %d", len(got), len(want))
		}
	}
	if _, err := r.OpenKept(r.ctx, sum(classic)); err == nil {
		t.Error("what was refused is among the blobs")
	}
	if _, err := r.OpenBlob(r.ctx, r.admin, "demo/web", sum(classic)); problem.KindOf(err) != problem.NotFound {
		t.Errorf("a door serves it: %v", err)
	}
	// Another project knows nothing of it, and neither does a publisher.
	r.project("other", release.ProjectOptions{})
	if _, _, err := r.OpenRefused(r.ctx, r.admin, "other", sum(classic)); problem.KindOf(err) != problem.NotFound {
		t.Errorf("through another project: %v", err)
	}
	ci := r.robot("ci", access.Grant{Role: access.RolePublisher, Project: "demo"})
	if _, err := r.RefusedCopies(r.ctx, ci, "demo", 0); problem.KindOf(err) != problem.Denied {
		t.Errorf("a publisher lists copies: %v", err)
	}
	if _, _, err := r.OpenRefused(r.ctx, ci, "demo", sum(classic)); problem.KindOf(err) != problem.Denied {
		t.Errorf("a publisher reads a copy: %v", err)
	}
	// Their time ends.
	r.now = r.now.Add(25 * time.Hour)
	r.ok(r.SweepRefused(r.ctx))
	if left := r.copies("demo"); len(left) != 0 {
		t.Errorf("left %+v", left)
	}
	if _, _, err := r.OpenRefused(r.ctx, r.admin, "demo", sum(classic)); problem.KindOf(err) != problem.NotFound {
		t.Errorf("after its time: %v", err)
	}
}

// TestRefusedBounds fills what may be kept: a refusal stays one.
func TestRefusedBounds(t *testing.T) {
	size := int64(len(charttest.Build(t, "web", "1.0.0", map[string]string{"other": "1"})))
	t.Run("all", func(t *testing.T) {
		r := keeping(t, func(c *release.RefusedConfig) { c.Total = 2*size + size/2 })
		r.released("demo", "web", "1.0.0")
		for _, n := range []string{"1", "2", "3"} {
			r.now = r.now.Add(time.Minute)
			_, err := r.push("demo", other(r, n), nil)
			r.refused(err, problem.Immutable, "overwrite")
		}
		list := r.copies("demo")
		if len(list) != 2 || list[0].Digest != sum(other(r, "3")) || list[1].Digest != sum(other(r, "2")) {
			t.Errorf("the oldest did not go: %+v", list)
		}
	})
	t.Run("each", func(t *testing.T) {
		r := keeping(t, func(c *release.RefusedConfig) { c.Each = size - 1 })
		r.released("demo", "web", "1.0.0")
		_, err := r.push("demo", other(r, "1"), nil)
		r.refused(err, problem.Immutable, "overwrite")
		if got := r.overwritten(); got != "not kept: too large" || len(r.copies("demo")) != 0 {
			t.Errorf("the event says %q, kept %+v", got, r.copies("demo"))
		}
	})
	t.Run("disk", func(t *testing.T) {
		r := keeping(t, func(c *release.RefusedConfig) { c.Copies = fullDisk{c.Copies} })
		r.released("demo", "web", "1.0.0")
		_, err := r.push("demo", other(r, "1"), nil)
		r.refused(err, problem.Immutable, "overwrite")
		if got := r.overwritten(); got != "" || len(r.copies("demo")) != 0 {
			t.Errorf("the event says %q, kept %+v", got, r.copies("demo"))
		}
	})
}
