package watch_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func TestAddRouteChecks(t *testing.T) {
	hook := watch.Route{Name: "hook", Kind: watch.RouteWebhook, Target: "https://example.com/in", Credential: "hook"}
	slack := watch.Route{Name: "slack", Kind: watch.RouteSlack, Credential: "slack"}
	post := watch.Route{Name: "post", Kind: watch.RouteMail, Target: "team@example.com"}
	with := func(r watch.Route, change func(*watch.Route)) watch.Route { change(&r); return r }
	for i, tt := range []struct {
		route watch.Route
		rule  string // "" is taken
	}{
		{hook, ""}, {slack, ""}, {post, ""},
		{with(post, func(r *watch.Route) {
			r.Events, r.MinSeverity, r.Upstreams, r.Charts = []watch.EventKind{watch.Changed}, watch.High, []string{"air*"}, []string{"?", "[a-c]x"}
			r.Projects, r.Owners, r.Digest, r.Credential = []string{"team/*"}, []string{"team a"}, watch.Weekly, "smtp"
		}), ""},
		{with(slack, func(r *watch.Route) { r.Digest = watch.Daily }), ""},
		{with(slack, func(r *watch.Route) { r.Credential, r.Target = "", "http://chat.example.com/in" }), ""},

		{with(post, func(r *watch.Route) { r.Name = "" }), "route-name"},
		{with(post, func(r *watch.Route) { r.Name = "Team" }), "route-name"},
		{with(post, func(r *watch.Route) { r.Name = "a--b" }), "route-name"},
		{with(post, func(r *watch.Route) { r.Name = "-a" }), "route-name"},
		{with(post, func(r *watch.Route) { r.Name = "a\nb" }), "route-name"},
		{with(post, func(r *watch.Route) { r.Name = strings.Repeat("a", 64) }), "route-name"},
		{with(post, func(r *watch.Route) { r.Kind = "pigeon" }), "route-kind"},
		{with(post, func(r *watch.Route) { r.Target = "" }), "route-target"},
		{with(post, func(r *watch.Route) { r.Target = "Team <team@example.com>" }), "route-target"},
		{with(post, func(r *watch.Route) { r.Target = "a@b.c, d@e.f" }), "route-target"},
		{with(post, func(r *watch.Route) { r.Target = "a@b\r\nBcc: c@d" }), "route-target"},
		{with(post, func(r *watch.Route) { r.Target = "a b@example.com" }), "route-target"},
		{with(post, func(r *watch.Route) { r.Target = "tëam@example.com" }), "route-target"},
		{with(post, func(r *watch.Route) { r.Target = "a@-example.com" }), "route-target"},
		{with(post, func(r *watch.Route) { r.Target = "a@" + strings.Repeat("b", 3000) }), "route-target"},
		{with(hook, func(r *watch.Route) { r.Credential = "" }), "route-credential"},
		{with(hook, func(r *watch.Route) { r.Credential = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }), "route-credential"},
		{with(hook, func(r *watch.Route) { r.Credential = "https://hooks.slack.com/x" }), "route-credential"},
		{with(hook, func(r *watch.Route) { r.Target = "" }), "route-target"},
		{with(hook, func(r *watch.Route) { r.Target = "ftp://example.com" }), "route-target"},
		{with(hook, func(r *watch.Route) { r.Target = "https://me:secret@example.com" }), "route-target"},
		{with(hook, func(r *watch.Route) { r.Target = "https:///x" }), "route-target"},
		{with(hook, func(r *watch.Route) { r.Target = "https://example.com/\x00" }), "route-target"},
		{with(hook, func(r *watch.Route) { r.Digest = watch.Daily }), "route-digest"},
		{with(slack, func(r *watch.Route) { r.Credential = "" }), "route-target"},
		{with(slack, func(r *watch.Route) { r.Target = "https://chat.example.com/in" }), "route-target"}, // and the credential
		{with(slack, func(r *watch.Route) { r.Credential, r.Target = "", "https://hooks.slack.com/services/T0/B0/secret" }), "route-target"},
		{with(slack, func(r *watch.Route) { r.Credential, r.Target = "", "https://chat.example.com/hooks/secret" }), "route-target"},
		{with(slack, func(r *watch.Route) { r.Credential, r.Target = "", "https://chat.example.com/in?key=secret" }), "route-target"},
		{with(post, func(r *watch.Route) { r.MinSeverity = "urgent" }), "route-severity"},
		{with(post, func(r *watch.Route) { r.Events = []watch.EventKind{"explosion"} }), "route-event"},
		{with(post, func(r *watch.Route) { r.Events = []watch.EventKind{watch.TestEvent} }), "route-event"},
		{with(post, func(r *watch.Route) { r.Digest = "hourly" }), "route-digest"},
		{with(post, func(r *watch.Route) { r.Charts = []string{"[a"} }), "route-patterns"},
		{with(post, func(r *watch.Route) { r.Charts = []string{""} }), "route-patterns"},
		{with(post, func(r *watch.Route) { r.Owners = []string{"a\nb"} }), "route-patterns"},
		{with(post, func(r *watch.Route) { r.Upstreams = make([]string, 51) }), "route-patterns"},
		{with(post, func(r *watch.Route) { r.Projects = []string{strings.Repeat("a", 129)} }), "route-patterns"},
	} {
		o := newOutbox()
		s := watch.New(watch.Config{Store: o, Registry: rights{allowed: []access.Action{access.RouteWrite}}, Now: func() time.Time { return morning }})
		got, err := s.AddRoute(t.Context(), audit.Caller{}, tt.route)
		if tt.rule == "" {
			if err != nil || got.ID != 1 || !got.Created.Equal(morning) || got.MinSeverity == "" {
				t.Errorf("%d: %+v: %v", i, got, err)
			}
			continue
		}
		p, ok := problem.As(err)
		if !ok || p.Rule != tt.rule || len(o.routes) != 0 {
			t.Errorf("%d: %v, want rule %s", i, err, tt.rule)
			continue
		}
		for _, secret := range []string{"secret", "whsec_"} {
			if strings.Contains(p.Error(), secret) && secret != "secret" || strings.Contains(p.Error(), "B0/secret") || strings.Contains(p.Error(), "me:secret") {
				t.Errorf("%d: the refusal shows a secret: %v", i, p)
			}
		}
	}
}

// What a caller says of a route's id and health is not taken over.
func TestAddRouteTakesWhatItIsGiven(t *testing.T) {
	o := newOutbox()
	s := watch.New(watch.Config{Store: o, Registry: rights{allowed: []access.Action{access.RouteWrite}}, Now: func() time.Time { return morning }})
	_, err := s.AddRoute(t.Context(), audit.Caller{}, watch.Route{ID: 77, Name: "a", Kind: watch.RouteMail, Target: " team@example.com ", Health: watch.RouteHealth{Failed: 9}})
	if err != nil {
		t.Fatal(err)
	}
	if r := o.routes[0]; r.ID != 1 || r.Health != (watch.RouteHealth{}) || r.Target != "team@example.com" || r.MinSeverity != watch.Info {
		t.Errorf("kept %+v", r)
	}
	ev := o.audited[0]
	if ev.Name != audit.RouteAdded || ev.Action != access.RouteWrite || ev.Detail["route"] != "a" || ev.Outcome.Result != audit.Allowed {
		t.Errorf("audited %+v", ev)
	}
	for _, v := range ev.Detail {
		if strings.Contains(v, "@") {
			t.Error("a mail address is in the audit trail")
		}
	}
	if err := s.RemoveRoute(t.Context(), audit.Caller{}, "a"); err != nil || o.audited[1].Name != audit.RouteRemoved {
		t.Errorf("removed: %v, %+v", err, o.audited)
	}
	if err := s.RemoveRoute(t.Context(), audit.Caller{}, "a"); problem.KindOf(err) != problem.NotFound {
		t.Errorf("removed twice: %v", err)
	}
}

func TestRouteRights(t *testing.T) {
	sent := 0
	for _, tt := range []struct {
		allowed []access.Action
		write   bool
		read    bool
	}{{nil, false, false}, {[]access.Action{access.WatchRead}, false, true}, {[]access.Action{access.RouteWrite}, true, false}} {
		o := newOutbox(routeTo("r"))
		s := watch.New(watch.Config{
			Store: o, Registry: rights{allowed: tt.allowed},
			Sender: sender(func(context.Context, watch.Route, watch.Delivery) error { sent++; return nil }),
		})
		ctx, c := t.Context(), audit.Caller{}
		_, add := s.AddRoute(ctx, c, routeTo("new"))
		test := s.TestRoute(ctx, c, "r")
		remove := s.RemoveRoute(ctx, c, "r")
		_, list := s.Routes(ctx, c)
		_, deliveries := s.RouteDeliveries(ctx, c, "new", 0)
		for i, err := range []error{add, test, remove} {
			if denied := problem.KindOf(err) == problem.Denied; denied == tt.write {
				t.Errorf("%v, write %d: %v", tt.allowed, i, err)
			}
		}
		for i, err := range []error{list, deliveries} {
			if denied := problem.KindOf(err) == problem.Denied; denied == tt.read {
				t.Errorf("%v, read %d: %v", tt.allowed, i, err)
			}
		}
		if !tt.write && (len(o.routes) != 1 || len(o.audited) != 0) {
			t.Errorf("%v changed routes", tt.allowed)
		}
	}
	if sent != 1 {
		t.Errorf("%d tests were sent", sent)
	}
}

func TestTestRoute(t *testing.T) {
	o := newOutbox(routeTo("r"))
	var sent []watch.Delivery
	fail := problem.New(problem.Unavailable, "x", "no way")
	var answer error
	s := watch.New(watch.Config{
		Store: o, Registry: rights{allowed: []access.Action{access.RouteWrite}},
		Sender: sender(func(_ context.Context, r watch.Route, d watch.Delivery) error {
			sent = append(sent, d)
			return answer
		}),
	})
	caller := audit.Caller{Principal: access.Principal{Name: "ann"}}
	if err := s.TestRoute(t.Context(), caller, "r"); err != nil {
		t.Fatal(err)
	}
	answer = fail
	if err := s.TestRoute(t.Context(), caller, "r"); err != fail {
		t.Errorf("got %v", err)
	}
	if len(sent) != 2 || sent[0].ID == sent[1].ID || sent[0].Events[0].Kind != watch.TestEvent || sent[0].Events[0].Evidence[0].Value != "ann" {
		t.Errorf("sent %+v", sent)
	}
	if err := s.TestRoute(t.Context(), caller, "other"); problem.KindOf(err) != problem.NotFound {
		t.Errorf("got %v", err)
	}
	none := watch.New(watch.Config{Store: o, Registry: rights{allowed: []access.Action{access.RouteWrite}}})
	if err := none.TestRoute(t.Context(), caller, "r"); problem.KindOf(err) != problem.Unsupported {
		t.Errorf("without a sender: %v", err)
	}
}

// Every kind of event in model.go can be chosen.
func TestEventKindsAreAll(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "model.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); !ok || id.Name != "EventKind" {
			return true
		}
		kind, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if !slices.Contains(watch.EventKinds(), watch.EventKind(kind)) {
			t.Errorf("kind %s cannot be chosen", kind)
		}
		return true
	})
	if can := len(watch.EventKinds()) - len(watch.AlertEvents()); found < 20 || found != can {
		t.Errorf("%d kinds in model.go, %d can be chosen beside the alerts", found, can)
	}
}
