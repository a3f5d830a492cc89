package watch

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/deployment"
)

func TestDue(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tt := range []struct {
		digest    Digest
		when, due string
	}{
		{Immediately, "2026-11-21 09:00:00", "2026-11-21 09:00:00"},
		{Daily, "2026-11-21 05:59:59", "2026-11-21 06:00:00"},
		{Daily, "2026-11-21 06:00:00", "2026-11-22 06:00:00"},
		{Daily, "2026-12-31 23:59:59", "2027-01-01 06:00:00"},
		{Weekly, "2026-11-21 09:00:00", "2026-11-23 06:00:00"}, // from a Saturday
		{Weekly, "2026-11-23 05:59:59", "2026-11-23 06:00:00"},
		{Weekly, "2026-11-23 06:00:00", "2026-11-30 06:00:00"},
	} {
		if got := tt.digest.Due(at(tt.when)); !got.Equal(at(tt.due)) {
			t.Errorf("%q of what happened at %s goes out at %s, want %s", tt.digest, tt.when, got, tt.due)
		}
	}
	// Another zone is the same time.
	zone := time.FixedZone("", 9*3600)
	if got := Daily.Due(at("2026-11-21 05:00:00").In(zone)); !got.Equal(at("2026-11-21 06:00:00")) {
		t.Errorf("in another zone: %s", got)
	}
}

func TestTakes(t *testing.T) {
	deployed := func(key, owner, route, upstream, project, chart string) Deployment {
		cluster, _, _ := strings.Cut(key, "/")
		return Deployment{Import: cluster, Deployment: deployment.Deployment{Key: key, Owner: owner, Route: route, Match: deployment.Match{Upstream: upstream, Project: project, Chart: chart}}}
	}
	a := newAudience(time.Time{}, nil, []Deployment{
		deployed("eu/data/air", "data", "", "airflow-helm", "", "airflow"),
		deployed("us/data/air", "data", "night", "airflow-helm", "", "airflow"),
		deployed("eu/web/web", "web", "", "", "mirror/apps", "web"),
		deployed("eu/x/free", "", "", "airflow-helm", "", "airflow"),
	}, []Upstream{{Name: "apps", Mirror: &Mirror{Project: "mirror/apps"}}, {Name: "airflow-helm"}})
	changed := Event{Kind: Changed, Severity: High, Upstream: "airflow-helm", Chart: "airflow", Version: "8.9.0"}
	with := func(change func(*Event)) Event { e := changed; change(&e); return e }
	for i, tt := range []struct {
		route Route
		event Event
		want  bool
	}{
		{Route{}, changed, true},
		{Route{Events: []EventKind{Changed, Vanished}}, changed, true},
		{Route{Events: []EventKind{NewVersion}}, changed, false},
		{Route{MinSeverity: High}, changed, true},
		{Route{MinSeverity: Critical}, changed, false},
		{Route{MinSeverity: Critical}, with(func(e *Event) { e.Severity = "odd" }), true},
		{Route{Upstreams: []string{"air*"}}, changed, true},
		{Route{Upstreams: []string{"x", "y*"}}, changed, false},
		{Route{Upstreams: []string{"*"}}, Event{Kind: UnknownChart, Deployment: "eu/x/free"}, false},
		{Route{Charts: []string{"airflow"}}, changed, true},
		{Route{Charts: []string{"air?"}}, changed, false},
		{Route{Charts: []string{"*"}}, with(func(e *Event) { e.Chart = "" }), false},
		{Route{Projects: []string{"mirror/*"}}, Event{Upstream: "apps", Chart: "web"}, true}, // it is mirrored there
		{Route{Projects: []string{"mirror/*"}}, Event{Kind: Mirrored, Project: "mirror/apps"}, true},
		{Route{Projects: []string{"mirror/*"}}, changed, false},
		{Route{Owners: []string{"data"}}, changed, true},
		{Route{Owners: []string{"web"}}, changed, false},
		{Route{Owners: []string{""}}, changed, false}, // who has no owner is not owned by nobody
		{Route{Owners: []string{"data"}}, with(func(e *Event) { e.Chart = "other" }), false},
		{Route{Owners: []string{"data"}}, with(func(e *Event) { e.Chart, e.Version = "", "" }), true}, // the whole upstream
		{Route{Owners: []string{"web"}}, Event{Upstream: "apps", Chart: "web"}, true},                 // through the mirror
		{Route{Owners: []string{"web"}}, Event{Project: "mirror/apps", Chart: "web"}, true},
		{Route{Name: "night", Owners: []string{"x"}}, changed, true},
		{Route{Name: "day", Owners: []string{"x"}}, changed, false},
		{Route{Owners: []string{"web"}}, Event{Deployment: "eu/web/web"}, true},
		{Route{Owners: []string{"data"}}, Event{Deployment: "eu/web/web", Upstream: "airflow-helm", Chart: "airflow"}, false}, // of that deployment alone
		{Route{Owners: []string{"gone"}}, Event{Kind: DeploymentGone, Deployment: "eu/old/old", Owner: "gone"}, true},
		{Route{Name: "pager", Owners: []string{"x"}}, Event{Kind: DeploymentGone, Deployment: "eu/old/old", Route: "pager"}, true},
		{Route{Owners: []string{"data"}}, Event{Message: "about nothing"}, false},
		{Route{Owners: []string{"data"}}, Event{Kind: ImportOverdue, Import: "us"}, true}, // it brought one of theirs
		{Route{Owners: []string{"web"}}, Event{Kind: ImportOverdue, Import: "us"}, false},
		{Route{Name: "night", Owners: []string{"x"}}, Event{Kind: ImportBack, Import: "us"}, true},
		{Route{Owners: []string{"web"}}, Event{Kind: ImportOverdue, Import: "ap"}, false},
		{Route{Owners: []string{"data"}, MinSeverity: Critical}, changed, false}, // all conditions
	} {
		if got := a.takes(&tt.route, &tt.event); got != tt.want {
			t.Errorf("%d: %+v takes %+v: %t", i, tt.route, tt.event, got)
		}
	}
}

func TestPlan(t *testing.T) {
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	routes := []Route{{ID: 1, Name: "now"}, {ID: 2, Name: "daily", Digest: Daily}, {ID: 3, Name: "none", Upstreams: []string{"other"}}}
	var events []Event
	for i := range 45 {
		events = append(events, Event{ID: int64(i + 1), Key: fmt.Sprint(i % 44), Upstream: "u", Time: now}) // one key twice
	}
	a := newAudience(now, routes, nil, nil)
	got := a.plan(slices.Clone(events))
	if again := a.plan(slices.Clone(events)); !reflect.DeepEqual(got, again) {
		t.Error("a second call plans something else")
	}
	sizes := map[string][]int{}
	for _, d := range got {
		sizes[d.Route] = append(sizes[d.Route], len(d.Events))
		if d.State != DeliveryWaiting || d.RouteID == 0 {
			t.Errorf("delivery %+v", d)
		}
	}
	want := map[string][]int{"now": {20, 20, 4}, "daily": {44}}
	if !reflect.DeepEqual(sizes, want) {
		t.Errorf("planned %v, want %v", sizes, want)
	}
	if d := got[len(got)-1]; !d.Due.Equal(time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)) || d.RouteID != 2 {
		t.Errorf("digest %d is due at %s", d.RouteID, d.Due)
	}
	if len(a.plan(nil)) != 0 {
		t.Error("nothing happened, and something was planned")
	}
}
