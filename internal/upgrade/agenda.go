package upgrade

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// soon is what a planning meeting looks ahead to.
const soon = 14 * 24 * time.Hour

// Agenda is the planning meeting's agenda as Markdown: what is late, what is
// due within two weeks, what waits for somebody, what has no fixed chart, and
// what is not known. Owner chooses deployments; "" takes all.
func (s *Service) Agenda(ctx context.Context, c audit.Caller, owner string) (string, error) {
	st, err := s.Status(ctx, c, owner)
	if err != nil {
		return "", err
	}
	plans, err := s.store.Plans(ctx)
	if err != nil {
		return "", err
	}
	byKey := map[string]*Plan{}
	for i := range plans {
		byKey[plans[i].Deployment] = &plans[i]
	}
	var b strings.Builder
	title := "all deployments"
	if owner != "" {
		title = escape(owner)
	}
	fmt.Fprintf(&b, "# Upgrades of %s\n\nAs of %s. Times are UTC.\n", title, stamp(st.At))
	used := map[string]bool{}
	section := func(title, empty string, rows []StatusRow) {
		fmt.Fprintf(&b, "\n## %s\n\n", title)
		if len(rows) == 0 {
			fmt.Fprintf(&b, "%s\n", empty)
			return
		}
		fmt.Fprint(&b, "| Deployment | Runs | Move to | Due | Open | Effort | Waits for | What to do |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
		for _, r := range rows {
			used[r.Deployment] = true
			writeAgendaRow(&b, &r, byKey[r.Deployment])
		}
	}
	pick := func(want func(r *StatusRow) bool) []StatusRow {
		var out []StatusRow
		for i := range st.Rows {
			if r := &st.Rows[i]; !used[r.Deployment] && want(r) {
				out = append(out, *r)
			}
		}
		return out
	}
	section("Late", "Nothing is late.", pick(func(r *StatusRow) bool { return r.Late }))
	section("Due within two weeks", "Nothing else is due within two weeks.", pick(func(r *StatusRow) bool { return !r.Due.IsZero() && r.Due.Before(st.At.Add(soon)) }))
	section("No fixed chart exists", "No other deployment is without any version that helps.", pick(func(r *StatusRow) bool { return r.State == ActRemedy }))
	section("Waits for somebody", "Nothing else waits for anybody.", pick(func(r *StatusRow) bool { return r.WaitsFor != "" && r.State != ActUnknown }))
	section("Not known", "Nothing else is unknown.", pick(func(r *StatusRow) bool { return r.State == ActUnknown || r.Unknown > 0 }))
	writeRemedies(&b, st.Rows, byKey)
	rest := pick(func(*StatusRow) bool { return true })
	if len(rest) > 0 {
		fmt.Fprintf(&b, "\nFor %s there is nothing to do now.\n", count(len(rest), "other deployment", "other deployments"))
	}
	return b.String(), nil
}

// writeRemedies lists what else than a version of a chart would help.
func writeRemedies(w io.Writer, rows []StatusRow, plans map[string]*Plan) {
	fmt.Fprint(w, "\n## Remedies, where no version closes it\n\n")
	none := true
	for i := range rows {
		p := plans[rows[i].Deployment]
		if p == nil {
			continue
		}
		for k, r := range p.Remedies {
			none = false
			if k == maxListed {
				fmt.Fprintf(w, "- %s: %d more, see its plan\n", escape(p.Deployment), len(p.Remedies)-k)
				break
			}
			fmt.Fprintf(w, "- %s: %s\n", escape(p.Deployment), escape(r.Text))
		}
	}
	if none {
		fmt.Fprint(w, "None is needed.\n")
	}
}

func writeAgendaRow(w io.Writer, r *StatusRow, p *Plan) {
	effort, text := "", ""
	if p != nil {
		text = p.Text
		if p.Chosen != nil {
			effort = string(p.Chosen.Effort.Class)
		}
		if p.Emergency != "" {
			text += " Emergency: " + p.Emergency + "."
		} else if p.Slot != nil {
			text += " Slot " + stamp(p.Slot.Start) + "."
		}
	}
	open := fmt.Sprint(r.Open)
	if r.Unknown > 0 {
		open += fmt.Sprintf(", %s unknown", count(r.Unknown, "image", "images"))
	}
	fmt.Fprintf(w, "| %s | %s %s | %s | %s | %s | %s | %s | %s |\n", escape(r.Deployment), escape(r.Chart), escape(r.Version), escape(r.To), stamp(r.Due), open, effort, escape(r.WaitsFor), escape(text))
}

// PullRequest is the text of a change that makes an upgrade, as Markdown.
func (s *Service) PullRequest(ctx context.Context, c audit.Caller, id int64) (string, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return "", err
	}
	u, err := s.store.Upgrade(ctx, id)
	if err != nil {
		return "", err
	}
	var r Review
	if u.Review != "" {
		if r, err = s.store.Review(ctx, u.Review); err != nil && problem.KindOf(err) != problem.NotFound {
			return "", err
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s %s to %s\n\n", escape(u.Deployment), escape(u.Chart), escape(u.From), escape(u.To))
	s.writeUpgrade(&b, &u, &r)
	return b.String(), nil
}

// Calendar is what is scheduled and due, as an iCalendar file that calendar
// programs can subscribe to. Windows and freezes of the next 90 days are in it.
func (s *Service) Calendar(ctx context.Context, c audit.Caller, owner string) ([]byte, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	ups, err := s.store.ListUpgrades(ctx, UpgradeFilter{Owner: owner, Open: true})
	if err != nil {
		return nil, err
	}
	windows, err := s.store.Windows(ctx)
	if err != nil {
		return nil, err
	}
	host := strings.TrimPrefix(strings.TrimPrefix(s.base, "https://"), "http://")
	if host == "" {
		host = "chartkeep.invalid"
	}
	var list []calendar.Entry
	for _, u := range ups {
		e := calendar.Entry{
			UID: fmt.Sprintf("upgrade-%d@%s", u.ID, host), Stamp: u.Since, Tags: []string{"upgrade"},
			Summary: fmt.Sprintf("%s: %s %s to %s", u.Deployment, u.Chart, u.From, u.To), Text: "State: " + string(u.State) + "\nWaits for: " + u.WaitsFor,
		}
		if s.base != "" {
			e.URL = fmt.Sprintf("%s/ui/upgrades/%d", s.base, u.ID)
		}
		if u.Security {
			e.Tags = append(e.Tags, "security")
		}
		if u.Slot != nil {
			e.Start, e.End = u.Slot.Start, u.Slot.End
			list = append(list, e)
		}
		if !u.Due.IsZero() {
			e.UID, e.Start, e.End, e.Summary = "due-"+e.UID, u.Due, time.Time{}, "Due: "+e.Summary
			list = append(list, e)
		}
	}
	now := s.now()
	for _, w := range windows {
		what := "Window"
		if w.Freeze {
			what = "Freeze"
		}
		for _, o := range w.Openings(now, now.Add(horizon), 100) {
			list = append(list, calendar.Entry{
				UID: fmt.Sprintf("window-%s-%d@%s", w.Name, o.Start.Unix(), host), Stamp: w.Created, Start: o.Start, End: o.End, Summary: what + " " + w.Name,
				Text: w.Reason, Tags: []string{strings.ToLower(what)},
			})
		}
	}
	return calendar.ICS("Chartkeep", list), nil
}
