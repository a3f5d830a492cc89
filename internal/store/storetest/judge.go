package storetest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// JudgeStore is the port of package upgrade on a store that holds the registry
// and the watch as well: all write one log.
type JudgeStore interface {
	WatchStore
	upgrade.Store
}

// OpenJudge opens the database of one test, with a clock (nil is time.Now).
type OpenJudge func(t *testing.T, now func() time.Time) JudgeStore

// Judge is the suite that every implementation of upgrade.Store passes. place
// is as that of Ledger.
func Judge(t *testing.T, place func(t *testing.T) OpenJudge) {
	for _, part := range []struct {
		name string
		test func(j *judge)
	}{
		{"feeds", feedLife},
		{"feed changes", feedChanges},
		{"feed leases", feedLeases},
		{"feed records", feedRecords},
		{"feed with a lost lease", feedLost},
		{"policies", policies},
		{"windows", windows},
		{"waivers", waivers},
		{"inputs", inputsRise},
		{"reviews", reviewLife},
		{"every field of a review", reviewFields},
		{"review digests", reviewDigests},
		{"reviews replaced", reviewsReplaced},
		{"review lists", reviewLists},
		{"sign-offs", signoffs},
		{"sign-offs refused", signoffsRefused},
		{"one failing sign-off harms no other", failingSignoffs},
		{"exposures", exposureLife},
		{"exposures of foreign names", exposureNames},
		{"exposures against a model", exposureModel},
		{"upgrades", upgradeLife},
		{"upgrades moved", upgradeMoves},
		{"upgrades reopened", upgradeReopened},
		{"upgrade lists", upgradeLists},
		{"plans", planLife},
		{"assessments", assessmentLife},
		{"a deployment that is gone", deploymentGone},
		{"trackers", trackerLife},
		{"tickets", ticketLife},
		{"tickets wanted again", ticketsWanted},
		{"judge at once", func(j *judge) { j.ok(RaceJudge(j.Context(), start, 2, j.JudgeStore)) }},
		{"judge reopened", judgeReopened},
	} {
		t.Run(part.name, func(t *testing.T) {
			open := place(t)
			s := open(t, nil)
			j := &judge{watcher: &watcher{ledger: &ledger{T: t, LedgerStore: s}, WatchStore: s}, JudgeStore: s, openJudge: open}
			t.Cleanup(func() { j.Close() })
			j.project = j.create("demo")
			part.test(j)
			j.checkLog()
		})
	}
}

// judge is a store with the test it serves.
type judge struct {
	*watcher
	JudgeStore
	openJudge OpenJudge
}

// reopen ends the process and starts another.
func (j *judge) reopen() {
	j.Helper()
	j.ok(j.Close())
	j.JudgeStore = j.openJudge(j.T, nil)
	j.WatchStore, j.LedgerStore = j.JudgeStore, j.JudgeStore
}

// told checks the newest audit event: its name and a detail.
func (j *judge) told(name audit.Name, what, which string) {
	j.Helper()
	if ev := j.lastEvent(name); ev.Detail[what] != which || ev.Outcome.Result != audit.Allowed {
		j.Fatalf("audit event %+v", ev)
	}
}

// rises runs what must raise the number of the inputs, or must not.
func (j *judge) rises(want bool, do func()) {
	j.Helper()
	before, err := j.Inputs(j.Context())
	j.ok(err)
	do()
	after, err := j.Inputs(j.Context())
	j.ok(err)
	if after < before || want != (after > before) {
		j.Fatalf("the number of the inputs went from %d to %d", before, after)
	}
}

// full is a value in which no field is zero that JSON carries, so that one that
// gets lost on its way shows. n makes it differ from others.
func full[T any](n int) T {
	var v T
	fill(reflect.ValueOf(&v).Elem(), "f", &n)
	return v
}

func fill(v reflect.Value, name string, n *int) {
	*n++
	if t, ok := v.Addr().Interface().(*time.Time); ok {
		*t = start.Add(time.Duration(*n) * 1234567 * time.Nanosecond)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%s-%d<&>é", strings.ToLower(name), *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name, n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), name, n)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, name, n)
		fill(value, name, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
				fill(v.Field(i), f.Name, n)
			}
		}
	default:
		panic(fmt.Sprintf("%s: a %s cannot be filled", name, v.Type()))
	}
}

// reviewOf is a small review. n makes its digest.
func reviewOf(deployment, from, to string, n int) upgrade.Review {
	return upgrade.Review{
		Digest: reviewDigest(deployment, n), Deployment: deployment, Chart: "web", Made: at(n),
		From: upgrade.Side{Version: from, Images: []string{"a:1"}}, To: upgrade.Side{Version: to, Archive: sha256Of([]byte(to)), Images: []string{"a:2"}},
		Closed: []upgrade.Finding{{Key: "CVE-2026-1 in x/y", Kind: upgrade.OfAdvisory, Severity: manifest.High}},
		Roles:  []upgrade.SignRole{upgrade.Reviewer, upgrade.Security},
	}
}

func reviewDigest(deployment string, n int) string { return sha256Of(fmt.Append(nil, deployment, n)) }

// review puts one.
func (j *judge) review(deployment, from, to string, n int) upgrade.Review {
	j.Helper()
	r, err := j.PutReview(j.Context(), reviewOf(deployment, from, to, n))
	j.ok(err)
	return r
}

// word is a sign-off and its leaf.
func word(r upgrade.Review, role upgrade.SignRole, by string, now time.Time) (upgrade.Signoff, tlog.Signoff) {
	s := upgrade.Signoff{Role: role, By: by, Name: by, Time: now, Accepted: true, Text: "read", Answers: map[string]string{"a": "b"}, Digest: r.Digest}
	return s, tlog.Signoff{
		Deployment: r.Deployment, Chart: r.Chart, From: r.From.Version, To: r.To.Version, Archive: r.To.Archive, Review: r.Digest, Role: string(role),
		Said: tlog.SignoffAccepted, Text: sha256Of([]byte("text")), Signer: tlog.Identity{Issuer: "suite", Subject: by}, Time: now,
	}
}

// everyRole says that a review is signed when all its roles have signed, once each.
func everyRole(role upgrade.SignRole) func(upgrade.Review) (upgrade.ReviewState, error) {
	return func(r upgrade.Review) (upgrade.ReviewState, error) {
		for _, s := range r.Signoffs {
			if s.Role == role {
				return "", fmt.Errorf("%s has signed", role)
			}
		}
		if len(r.Signoffs)+1 == len(r.Roles) {
			return upgrade.ReviewSigned, nil
		}
		return upgrade.ReviewOpen, nil
	}
}

// signed reads the leaf of a sign-off and proves it.
func (j *judge) signed(index int64) tlog.Signoff {
	j.Helper()
	j.proven(index)
	text, err := j.Leaf(j.Context(), index)
	j.ok(err)
	leaf, err := tlog.ParseLeaf(text)
	j.ok(err)
	s, is := leaf.(tlog.Signoff)
	if !is {
		j.Fatalf("leaf %d is %T", index, leaf)
	}
	return s
}
