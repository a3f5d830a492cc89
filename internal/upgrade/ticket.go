package upgrade

import (
	"context"

	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Bounds of tickets.
const (
	maxTrackers   = 50
	maxLabels     = 20
	ticketHold    = 5 * time.Minute
	ticketTries   = 20 // before it is given up
	ticketsAtOnce = 10
)

// The states of a ticket.
const (
	TicketWanted = "wanted"
	TicketOpen   = "open"
	TicketClosed = "closed"
	TicketFailed = "failed"
)

// TrackerGitHub is a repository with GitHub's API for issues.
const TrackerGitHub = "github"

// Trackers lists all trackers by name.
func (s *Service) Trackers(ctx context.Context, c audit.Caller) ([]Tracker, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	return s.store.Trackers(ctx)
}

// AddTracker makes tickets in a tracker from now on: one for each upgrade that
// closes something of at least its severity.
func (s *Service) AddTracker(ctx context.Context, c audit.Caller, t Tracker) (Tracker, error) {
	if err := s.may(ctx, c, access.RouteWrite); err != nil {
		return Tracker{}, err
	}
	if err := checkTracker(&t); err != nil {
		return Tracker{}, err
	}
	all, err := s.store.Trackers(ctx)
	if err != nil {
		return Tracker{}, err
	}
	if len(all) >= maxTrackers {
		return Tracker{}, problem.New(problem.Invalid, "trackers", "there are %d trackers already, which is the most", maxTrackers)
	}
	ev := s.event(c, audit.TrackerAdded, access.RouteWrite)
	ev.Detail = map[string]string{"tracker": t.Name, "kind": t.Kind, "url": t.URL}
	t, err = s.store.CreateTracker(ctx, t, ev, s.now())
	if err == nil {
		s.nudge()
	}
	return t, err
}

func checkTracker(t *Tracker) error {
	if err := checkName("tracker", t.Name); err != nil {
		return err
	}
	bad := func(format string, args ...any) *problem.Error {
		return problem.New(problem.Invalid, "tracker", format, args...)
	}
	u, err := url.Parse(t.URL)
	switch {
	case t.Kind != TrackerGitHub:
		return bad("%.40q is no kind of tracker; %s is", t.Kind, TrackerGitHub)
	case len(t.URL) > maxURL, err != nil, u.Scheme != "https" && u.Scheme != "http", u.Host == "", len(strings.Split(strings.Trim(u.Path, "/"), "/")) != 2:
		return bad("%.200q is not the address of a repository", t.URL).Suggest("https://github.com/OWNER/REPOSITORY")
	case u.User != nil:
		return bad("the URL of tracker %s has a credential in it", t.Name).Suggest("put it into the server's credentials file and name it: --credential NAME")
	case t.Credential == "":
		return bad("tracker %s needs a credential to write with", t.Name).Suggest("put a token into the server's credentials file and name it: --credential NAME")
	case len(t.Labels) > maxLabels || len(t.Owners) > maxLabels:
		return bad("a tracker has at most %d labels and owners", maxLabels)
	case t.Severity != "" && t.Severity.Rank() < 0:
		return bad("%.40q is not a severity", string(t.Severity))
	}
	for _, l := range append(slices.Clone(t.Labels), t.Owners...) {
		if l == "" || len(l) > 200 {
			return bad("a label or an owner has 1 to 200 bytes")
		}
	}
	return nil
}

// RemoveTracker makes no more tickets in a tracker; those that are there stay.
func (s *Service) RemoveTracker(ctx context.Context, c audit.Caller, name string) error {
	if err := s.may(ctx, c, access.RouteWrite); err != nil {
		return err
	}
	ev := s.event(c, audit.TrackerRemoved, access.RouteWrite)
	ev.Detail = map[string]string{"tracker": name}
	return s.store.RemoveTracker(ctx, name, ev, s.now())
}

// Tickets lists the tickets of a tracker, the newest first; "" lists those of
// all.
func (s *Service) Tickets(ctx context.Context, c audit.Caller, tracker string, limit int) ([]Ticket, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	return s.store.ListTickets(ctx, tracker, limit)
}

// wantTickets has a ticket made for an upgrade wherever one is wanted, or
// brought up to date.
func (s *Service) wantTickets(ctx context.Context, u *Upgrade, r *Review) error {
	if s.desk == nil || !u.Security {
		return nil
	}
	all, err := s.store.Trackers(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		t := &all[i]
		if len(t.Owners) > 0 && !slices.Contains(t.Owners, u.Owner) || r.Digest != "" && worst(r.Closed).Rank() < t.Severity.Rank() {
			continue
		}
		text := s.issueText(t, u, r)
		if err := s.store.WantTicket(ctx, t.Name, u.ID, s.marker(u), digest.SHA256([]byte(text.Title+"\n"+text.Body)), s.now()); err != nil {
			return err
		}
	}
	return nil
}

// marker names the ticket of an upgrade in its text: for ever, and for this
// server alone.
func (s *Service) marker(u *Upgrade) string {
	sum := digest.SHA256(fmt.Appendf(nil, "%s\n%d\n%s\n%s", s.base, u.ID, u.Deployment, u.To))
	return "chartkeep-upgrade-" + strings.TrimPrefix(sum, "sha256:")[:24]
}

// SettleTickets makes and updates the tickets that are due, and returns how
// many it tried. That a tracker cannot be reached is no error.
func (s *Service) SettleTickets(ctx context.Context) (int, error) {
	if s.desk == nil {
		return 0, nil
	}
	n := 0
	for {
		list, err := s.store.LeaseTickets(ctx, s.now(), ticketHold, ticketsAtOnce)
		if err != nil || len(list) == 0 {
			return n, err
		}
		trackers, err := s.store.Trackers(ctx)
		if err != nil {
			return n, err
		}
		for _, t := range list {
			n++
			if err := s.settle(ctx, trackers, t); err != nil {
				return n, err
			}
		}
	}
}

// settle brings one ticket up to date. It is created only after nothing with
// its marker was found, so that a crash between the creation and the commit
// makes no second one.
func (s *Service) settle(ctx context.Context, trackers []Tracker, t Ticket) error {
	i := slices.IndexFunc(trackers, func(k Tracker) bool { return k.Name == t.Tracker })
	if i < 0 {
		t.State, t.Error, t.Due = TicketFailed, "its tracker was removed", time.Time{}
		return settled(s.store.SettleTicket(ctx, t, s.now()))
	}
	u, err := s.store.Upgrade(ctx, t.Upgrade)
	if err != nil {
		return err
	}
	r, err := s.store.Review(ctx, u.Review)
	if err != nil && problem.KindOf(err) != problem.NotFound {
		return err
	}
	text := s.issueText(&trackers[i], &u, &r)
	issue, err := s.bring(ctx, trackers[i], &t, text)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t.Attempts++
	if err != nil {
		t.Error = sayError(err)
		t.Due = s.now().Add(min(24*time.Hour, time.Minute<<min(t.Attempts, 11)))
		if p, ok := problem.As(err); ok && p.Kind != problem.Unavailable || t.Attempts >= ticketTries {
			t.State, t.Due = TicketFailed, time.Time{}
		}
		s.log.WarnContext(ctx, "a ticket could not be made or updated", "tracker", t.Tracker, "deployment", u.Deployment, "attempts", t.Attempts, "error", err)
		return settled(s.store.SettleTicket(ctx, t, s.now()))
	}
	t.Number, t.URL, t.Error, t.Due, t.Attempts, t.State = issue.Number, issue.URL, "", time.Time{}, 0, TicketOpen
	t.Digest = digest.SHA256([]byte(text.Title + "\n" + text.Body))
	if text.Closed {
		t.State = TicketClosed
	}
	if err := s.store.SettleTicket(ctx, t, s.now()); err != nil {
		return settled(err)
	}
	if u.Ticket == t.URL {
		return nil
	}
	_, err = s.store.MoveUpgrade(ctx, u.ID, nil, nil, func(u Upgrade) (Upgrade, error) {
		u.Ticket = t.URL
		return u, nil
	})
	return err
}

// settled takes a lost lease for what it is: somebody else settles the ticket.
func settled(err error) error {
	if problem.KindOf(err) == problem.Conflict {
		return nil
	}
	return err
}

// bring finds, creates or updates the issue.
func (s *Service) bring(ctx context.Context, k Tracker, t *Ticket, text IssueText) (Issue, error) {
	if t.Number == 0 {
		found, err := s.desk.Find(ctx, k, t.Marker)
		switch p, _ := problem.As(err); {
		case err == nil:
			t.Number = found.Number
		case p == nil || p.Kind != problem.NotFound:
			return Issue{}, err
		default:
			return s.desk.Create(ctx, k, text)
		}
	}
	issue, err := s.desk.Update(ctx, k, t.Number, text)
	if err != nil {
		return Issue{}, err
	}
	return issue, nil
}

// issueText is what the ticket of an upgrade says.
func (s *Service) issueText(k *Tracker, u *Upgrade, r *Review) IssueText {
	title := fmt.Sprintf("%s: %s %s to %s", u.Deployment, u.Chart, u.From, u.To)
	if !u.Due.IsZero() {
		title += ", due " + u.Due.UTC().Format(time.DateOnly)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- %s -->\n", s.marker(u))
	s.writeUpgrade(&b, u, r)
	return IssueText{Title: title, Body: b.String(), Labels: k.Labels, Closed: !u.State.Open()}
}
