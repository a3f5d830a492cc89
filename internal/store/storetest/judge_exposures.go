package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

func exposed(key string) upgrade.Exposed {
	return upgrade.Exposed{Key: key, Environment: "prod", Severity: manifest.High, Kind: upgrade.OfAdvisory, Deadline: at(1000)}
}

// howOf says how an exposure ended, and that it was told of an open one.
func howOf(e upgrade.Exposed) string {
	if !e.Closed.IsZero() || e.How != "" || e.Opened.IsZero() {
		return "of one that has ended"
	}
	return "by " + e.Key
}

// sync makes keys what is open, and says what was opened and closed.
func (j *judge) sync(deployment string, now time.Time, change func(e *upgrade.Exposed), keys ...string) (said []string) {
	j.Helper()
	var list []upgrade.Exposed
	for _, key := range keys {
		e := exposed(key)
		if change != nil {
			change(&e)
		}
		list = append(list, e)
	}
	opened, closed, err := j.SyncExposures(j.Context(), deployment, list, howOf, now)
	j.ok(err)
	for _, e := range opened {
		if !e.Opened.Equal(now) || !e.Closed.IsZero() || e.How != "" || e.Deployment != deployment {
			j.Fatalf("opened %+v", e)
		}
		said = append(said, "+"+e.Key)
	}
	for _, e := range closed {
		if !e.Closed.Equal(now) || e.How != "by "+e.Key || e.Deployment != deployment {
			j.Fatalf("closed %+v", e)
		}
		said = append(said, "-"+e.Key)
	}
	return said
}

// since reads what was open at any time since then, in order.
func (j *judge) since(since time.Time) (out []upgrade.Exposed) {
	j.Helper()
	j.ok(j.ExposuresSince(j.Context(), since, func(e upgrade.Exposed) error {
		out = append(out, e)
		return nil
	}))
	slices.SortFunc(out, func(a, b upgrade.Exposed) int {
		return cmp.Or(strings.Compare(a.Deployment, b.Deployment), strings.Compare(a.Key, b.Key), a.Opened.Compare(b.Opened))
	})
	return out
}

func exposureLife(j *judge) {
	ctx := j.Context()
	is := func(key string, opened, closed int, change func(e *upgrade.Exposed)) upgrade.Exposed {
		e := exposed(key)
		e.Deployment, e.Opened = "d", at(opened)
		if closed > 0 {
			e.Closed, e.How = at(closed), "by "+key
		}
		if change != nil {
			change(&e)
		}
		return e
	}
	open := func(deployment string, want ...upgrade.Exposed) {
		j.Helper()
		got, err := j.OpenExposures(ctx, deployment)
		j.ok(err)
		j.equal("open", got, want)
	}
	open("")
	j.names("nothing", j.sync("d", at(0), nil))
	j.names("first", j.sync("d", at(1), nil, "b", "a", "c"), "+b", "+a", "+c")
	open("d", is("a", 1, 0, nil), is("b", 1, 0, nil), is("c", 1, 0, nil))
	j.names("the same", j.sync("d", at(2), nil, "c", "b", "a"))
	change := func(e *upgrade.Exposed) {
		e.Environment, e.Severity, e.Kind, e.Deadline, e.Opened = "test", upgrade.SeverityUnknown, upgrade.OfPosture, time.Time{}, at(77)
	}
	j.names("changed", j.sync("d", at(3), change, "a", "b", "c"))
	kept := func(key string) upgrade.Exposed {
		return is(key, 1, 0, func(e *upgrade.Exposed) { change(e); e.Opened = at(1) })
	}
	open("d", kept("a"), kept("b"), kept("c"))
	j.names("some", j.sync("d", at(4), nil, "d", "b"), "+d", "-a", "-c")
	open("d", is("b", 1, 0, nil), is("d", 4, 0, nil))
	j.names("back", j.sync("d", at(5), nil, "b", "d", "a"), "+a")
	j.names("another", j.sync("e", at(5), nil, "a"), "+a")
	other := is("a", 5, 0, func(e *upgrade.Exposed) { e.Deployment = "e" })
	open("", is("a", 5, 0, nil), is("b", 1, 0, nil), is("d", 4, 0, nil), other)
	open("none")

	twice := []upgrade.Exposed{exposed("x"), exposed("b"), exposed("x")}
	twice[2].Severity = manifest.Low // of one given twice, the last
	opened, closed, err := j.SyncExposures(ctx, "d", twice, howOf, at(6))
	j.ok(err)
	j.equal("opened", opened, []upgrade.Exposed{is("x", 6, 0, func(e *upgrade.Exposed) { e.Severity = manifest.Low })})
	j.equal("closed", closed, []upgrade.Exposed{is("a", 5, 6, nil), is("d", 4, 6, nil)})
	first := is("a", 1, 4, func(e *upgrade.Exposed) { change(e); e.Opened = at(1) })
	gone := is("c", 1, 4, func(e *upgrade.Exposed) { change(e); e.Opened = at(1) })
	x := opened[0]
	j.equal("history", j.since(time.Time{}), []upgrade.Exposed{first, closed[0], is("b", 1, 0, nil), gone, closed[1], x, other})
	j.equal("since then", j.since(at(4)), []upgrade.Exposed{first, closed[0], is("b", 1, 0, nil), gone, closed[1], x, other})
	j.equal("since later", j.since(at(5)), []upgrade.Exposed{closed[0], is("b", 1, 0, nil), closed[1], x, other})
	j.equal("since the end", j.since(at(7)), []upgrade.Exposed{is("b", 1, 0, nil), x, other})
	no := errors.New("no")
	if err := j.ExposuresSince(ctx, time.Time{}, func(upgrade.Exposed) error { return no }); !errors.Is(err, no) {
		j.Fatal(err)
	}
}

func exposureNames(j *judge) {
	long := strings.Repeat("v", 8<<10)
	names := []string{"", " ", "a\x00b", "a?b", "'; --", "100%", long, long + "x", tlog.BoundedName(long), strings.Repeat("\u00e9", 200), "\u202e"}
	for i, deployment := range names {
		if deployment == "" {
			continue
		}
		j.sync(deployment, at(1), func(e *upgrade.Exposed) { e.Environment = names[(i+1)%len(names)] }, names...)
		j.names("again", j.sync(deployment, at(2), func(e *upgrade.Exposed) { e.Environment = names[(i+1)%len(names)] }, names...))
	}
	for i, deployment := range names {
		if deployment == "" {
			continue
		}
		got, err := j.OpenExposures(j.Context(), deployment)
		j.ok(err)
		found := map[string]bool{}
		for _, e := range got {
			if e.Deployment != deployment || e.Environment != names[(i+1)%len(names)] {
				j.Fatalf("exposure of %.20q in %.20q", e.Deployment, e.Environment)
			}
			found[e.Key] = true
		}
		for _, key := range names {
			if !found[key] {
				j.Fatalf("%.20q is not open on %.20q", key, deployment)
			}
		}
		_, closed, err := j.SyncExposures(j.Context(), deployment, nil, func(e upgrade.Exposed) string { return e.Key }, at(3))
		j.ok(err)
		if len(closed) != len(names) {
			j.Fatalf("%d were closed", len(closed))
		}
	}
}

// exposureModel has random lists, on deployments that share keys, and compares
// with a plain account of them.
func exposureModel(j *judge) {
	rng := rand.New(rand.NewPCG(7, 11))
	severities := []manifest.Severity{manifest.Low, manifest.High, manifest.Critical, upgrade.SeverityUnknown}
	type name struct{ deployment, key string }
	open, ended := map[name]upgrade.Exposed{}, []upgrade.Exposed(nil)
	for step := range 100 {
		deployment, now := fmt.Sprint("d", rng.IntN(4)), at(step).Add(time.Duration(rng.IntN(60))*time.Second)
		want := map[string]upgrade.Exposed{}
		var list []upgrade.Exposed
		for range rng.IntN(90) {
			e := exposed(fmt.Sprint("key-", rng.IntN(100)))
			e.Severity, e.Environment, e.Deadline = severities[rng.IntN(4)], fmt.Sprint("env-", rng.IntN(2)), at(rng.IntN(3))
			list = append(list, e)
			e.Deployment, e.Opened = deployment, now
			want[e.Key] = e
		}
		if rng.IntN(3) == 0 { // mostly little changes
			list, want = nil, map[string]upgrade.Exposed{}
			for n, e := range open {
				if n.deployment == deployment && rng.IntN(10) > 0 {
					list = append(list, e)
					want[n.key] = e
				}
			}
		}
		var opened, closed []string
		for key, e := range want {
			if was, had := open[name{deployment, key}]; had {
				e.Opened = was.Opened
			} else {
				opened = append(opened, key)
			}
			open[name{deployment, key}] = e
		}
		for n, e := range open {
			if _, wanted := want[n.key]; n.deployment == deployment && !wanted {
				closed = append(closed, n.key)
				e.Closed, e.How = now, "by "+n.key
				ended = append(ended, e)
				delete(open, n)
			}
		}
		gotOpened, gotClosed, err := j.SyncExposures(j.Context(), deployment, list, howOf, now)
		j.ok(err)
		keys := func(list []upgrade.Exposed) (keys []string) {
			for _, e := range list {
				keys = append(keys, e.Key)
			}
			slices.Sort(keys)
			return keys
		}
		slices.Sort(opened)
		slices.Sort(closed)
		j.names(fmt.Sprint("opened in step ", step), keys(gotOpened), opened...)
		j.names(fmt.Sprint("closed in step ", step), keys(gotClosed), closed...)
		if step%10 != 9 {
			continue
		}
		since := at(step - rng.IntN(step+1))
		var all, some []upgrade.Exposed
		for _, e := range open {
			all, some = append(all, e), append(some, e)
		}
		for _, e := range ended {
			if !e.Closed.Before(since) {
				some = append(some, e)
			}
		}
		order := func(a, b upgrade.Exposed) int {
			return cmp.Or(strings.Compare(a.Deployment, b.Deployment), strings.Compare(a.Key, b.Key), a.Opened.Compare(b.Opened))
		}
		slices.SortFunc(all, order)
		slices.SortFunc(some, order)
		got, err := j.OpenExposures(j.Context(), "")
		j.ok(err)
		j.equal("open", got, all)
		j.equal("since", j.since(since), some)
	}
}
