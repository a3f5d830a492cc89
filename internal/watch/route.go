package watch

import (
	"context"
	"crypto/rand"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Limits of a route.
const (
	maxRouteName = 63
	maxTarget    = 2048 // bytes
	maxPatterns  = 50   // of each kind
	maxPattern   = 128  // bytes
)

// TestEvent is the kind of the event that TestRoute sends. No route can choose
// it, and it is recorded nowhere.
const TestEvent EventKind = "test"

// EventKinds lists what a route can choose, in the order of the documents.
func EventKinds() []EventKind {
	return append([]EventKind{
		FirstRead, NewVersion, Changed, Repacked, Vanished, Returned, ReturnedChanged, Duplicate, CreatedRewritten, ArchiveMismatch,
		EntryInvalid, IndexInvalid, IndexShrunk, FeedContradicts, Moved, Archived, Deprecated, GoneQuiet, Unreachable, CredentialFault, Recovered,
		MirrorRefused, Mirrored, ProvenanceMismatch, UnknownChart, UnreleasedBytes, DeploymentSeen, DeploymentGone, VersionMoved, ImportOverdue, ImportBack, AdvisoryOpened, DeadlinePassed,
	}, AlertEvents()...)
}

// AddRoute makes a route for what happens from now on. problem.Conflict when
// its name is taken.
func (s *Service) AddRoute(ctx context.Context, c audit.Caller, r Route) (Route, error) {
	if err := s.may(ctx, c, access.RouteWrite); err != nil {
		return Route{}, err
	}
	r = Route{
		Name: r.Name, Kind: r.Kind, Target: strings.TrimSpace(r.Target), Credential: r.Credential,
		Events: r.Events, MinSeverity: r.MinSeverity, Upstreams: r.Upstreams, Charts: r.Charts, Projects: r.Projects,
		Owners: r.Owners, Digest: r.Digest,
	}
	if r.MinSeverity == "" {
		r.MinSeverity = Info
	}
	if err := r.check(); err != nil {
		return Route{}, err
	}
	ev := s.event(c, audit.RouteAdded, access.RouteWrite)
	// Not the target: a leaf stays for ever, and an address is personal.
	ev.Detail = map[string]string{"route": r.Name, "kind": string(r.Kind)}
	return s.store.CreateRoute(ctx, r, ev, s.now())
}

// RemoveRoute removes a route with what is on its way to it.
func (s *Service) RemoveRoute(ctx context.Context, c audit.Caller, name string) error {
	if err := s.may(ctx, c, access.RouteWrite); err != nil {
		return err
	}
	ev := s.event(c, audit.RouteRemoved, access.RouteWrite)
	ev.Detail = map[string]string{"route": name}
	return s.store.RemoveRoute(ctx, name, ev, s.now())
}

// Routes lists all routes by name, with their health.
func (s *Service) Routes(ctx context.Context, c audit.Caller) ([]Route, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	return s.store.Routes(ctx)
}

// RouteDeliveries lists what was sent to a route or waits to be, newest first;
// limit is at most 1000, and 0 means 100.
func (s *Service) RouteDeliveries(ctx context.Context, c audit.Caller, name string, limit int) ([]Delivery, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	if _, err := s.route(ctx, name); err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = 100
	}
	return s.store.ListDeliveries(ctx, name, min(limit, 1000))
}

// ResendDeliveries tries deliveries of a route again that were given up: one, or
// all of them for "". It returns how many. See Routes of Store for refusals.
func (s *Service) ResendDeliveries(ctx context.Context, c audit.Caller, name, delivery string) (int, error) {
	if err := s.may(ctx, c, access.RouteWrite); err != nil {
		return 0, err
	}
	ev := s.event(c, audit.RouteResent, access.RouteWrite)
	if delivery != "" {
		ev.Detail = map[string]string{"delivery": delivery}
	}
	return s.store.ResendDeliveries(ctx, name, delivery, ev, s.now())
}

// TestRoute sends a message to a route at once and says what came of it. It is
// not tried again, and does not count for the route's health.
func (s *Service) TestRoute(ctx context.Context, c audit.Caller, name string) error {
	if err := s.may(ctx, c, access.RouteWrite); err != nil {
		return err
	}
	r, err := s.route(ctx, name)
	if err != nil {
		return err
	}
	if s.sender == nil {
		return problem.New(problem.Unsupported, "route-sender", "this server sends nothing")
	}
	by := s.event(c, "", "").Actor.Name
	e := Event{
		Time: s.now(), Kind: TestEvent, Severity: Info, Message: "this is a test of route " + r.Name + "; nothing has happened",
		Evidence: []Fact{{"asked by", by}},
	}
	id := "test-" + rand.Text()
	e.Key = id
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	return s.sender.Send(ctx, r, Delivery{ID: id, RouteID: r.ID, Route: r.Name, Events: []Event{e}, Due: e.Time, State: DeliveryWaiting})
}

func (s *Service) route(ctx context.Context, name string) (Route, error) {
	all, err := s.store.Routes(ctx)
	if err != nil {
		return Route{}, err
	}
	for _, r := range all {
		if r.Name == name {
			return r, nil
		}
	}
	return Route{}, problem.New(problem.NotFound, "route", "there is no route %.80q", name).Suggest("chartkeep route list")
}

// check refuses a route that could not work or would show a secret.
func (r *Route) check() error {
	if !slug(r.Name) {
		return problem.New(problem.Invalid, "route-name", "%.80q cannot be the name of a route", r.Name).
			With("allowed", "1 to %d of a-z, 0-9 and single hyphens between them", maxRouteName)
	}
	if strings.ContainsFunc(r.Credential, func(c rune) bool { return c <= ' ' || c >= 0x7f }) || len(r.Credential) > 100 ||
		strings.Contains(r.Credential, "://") || strings.HasPrefix(r.Credential, "whsec_") {
		return problem.New(problem.Invalid, "route-credential", "a credential is given by its name").
			Suggest("put the secret into the credentials file of the server, and give the name that it has there")
	}
	if err := r.checkTarget(); err != nil {
		return err
	}
	if r.MinSeverity.Rank() < 0 {
		return problem.New(problem.Invalid, "route-severity", "there is no severity %.40q", r.MinSeverity).
			With("severities", "%s, %s, %s, %s, %s", Info, Low, Medium, High, Critical)
	}
	for _, k := range r.Events {
		if !slices.Contains(EventKinds(), k) {
			return problem.New(problem.Invalid, "route-event", "there is no event %.40q", k).With("events", "%s", join(EventKinds()))
		}
	}
	switch r.Digest {
	case Immediately, Daily, Weekly:
	default:
		return problem.New(problem.Invalid, "route-digest", "there is no digest %.40q", r.Digest).
			With("digests", "%s, %s; without one, events are told at once", Daily, Weekly)
	}
	if r.Digest != Immediately && (r.Kind == RouteWebhook || r.Kind == RouteAlertmanager) {
		return problem.New(problem.Invalid, "route-digest", "programs are told at once; a digest is for people").
			Suggest("leave the digest out, or make the route one of kind %s or %s", RouteMail, RouteSlack)
	}
	return r.checkPatterns()
}

func (r *Route) checkTarget() error {
	bad := func(rule, format string, args ...any) *problem.Error {
		return problem.New(problem.Invalid, rule, format, args...)
	}
	if len(r.Target) > maxTarget {
		return bad("route-target", "the target has %d bytes; %d are allowed", len(r.Target), maxTarget)
	}
	switch r.Kind {
	case RouteWebhook:
		if err := checkTargetURL(r.Target); err != nil {
			return err
		}
		if r.Credential == "" {
			return bad("route-credential", "a webhook is signed, and the route names no credential for it").
				Suggest("add a credential with secret_file to the credentials file of the server, and name it with --credential")
		}
	case RouteSlack:
		switch {
		case r.Target == "" && r.Credential == "":
			return bad("route-target", "the route has no target").
				Suggest("put the URL into url_file of a credential, and name it with --credential")
		case r.Target != "" && r.Credential != "":
			return bad("route-target", "the URL is given twice: as target and by credential %s", r.Credential).
				Suggest("leave the target out")
		case r.Target != "":
			return checkOpenURL(r.Target)
		}
	case RouteMail:
		if !mailAddress(r.Target) {
			return bad("route-target", "%.80q is not a mail address such as team@example.com", r.Target)
		}
	case RouteAlertmanager:
		return checkTargetURL(r.Target)
	default:
		return bad("route-kind", "there is no kind of route %.40q", r.Kind).With("kinds", "%s, %s, %s, %s", RouteWebhook, RouteSlack, RouteMail, RouteAlertmanager)
	}
	return nil
}

func checkTargetURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Opaque != "" || u.Fragment != "" {
		return problem.New(problem.Invalid, "route-target", "the target is not a URL of http or https")
	}
	if u.User != nil {
		return problem.New(problem.Invalid, "route-target", "the target has a user name or password in it").
			Suggest("put them into the credentials file of the server, and name the credential")
	}
	return nil
}

// checkOpenURL refuses the URLs of incoming webhooks that are known to be
// secrets: whoever knows one can write into the channel.
func checkOpenURL(text string) error {
	if err := checkTargetURL(text); err != nil {
		return err
	}
	u, _ := url.Parse(text)
	host := strings.ToLower(u.Hostname())
	if strings.HasPrefix(host, "hooks.slack") || strings.Contains(u.Path, "/hooks/") || strings.Contains(u.Path, "/webhooks/") || u.RawQuery != "" {
		return problem.New(problem.Invalid, "route-target", "this URL is a secret: whoever knows it can write into the channel").
			Suggest("put it into url_file of a credential, and name that with --credential instead of the target")
	}
	return nil
}

func (r *Route) checkPatterns() error {
	for _, l := range []struct {
		what string
		list []string
	}{{"upstreams", r.Upstreams}, {"charts", r.Charts}, {"projects", r.Projects}, {"owners", r.Owners}} {
		if len(l.list) > maxPatterns {
			return problem.New(problem.TooLarge, "route-patterns", "the route names %d %s; %d are allowed", len(l.list), l.what, maxPatterns)
		}
		for _, p := range l.list {
			_, err := path.Match(p, "")
			if p == "" || len(p) > maxPattern || line(p, maxPattern) != p || err != nil && l.what != "owners" {
				return problem.New(problem.Invalid, "route-patterns", "%.60q cannot be one of the %s", p, l.what).
					With("allowed", "1 to %d bytes without control characters; * and ? as in a shell", maxPattern)
			}
		}
	}
	return nil
}

// slug reports whether a name is of lower-case letters, digits and single
// hyphens between them.
func slug(s string) bool {
	if s == "" || len(s) > maxRouteName || s[0] == '-' || s[len(s)-1] == '-' || strings.Contains(s, "--") {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// mailAddress reports whether s is a plain address: no display name, no
// quotes, nothing beyond ASCII.
func mailAddress(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(local) > 64 || len(s) > 254 || strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return false
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	if strings.Trim(local, letters+".!#$%&'*+/=?^_`{|}~-") != "" {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, letters+"-") != "" {
			return false
		}
	}
	return true
}

func join[S ~string](list []S) string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}
