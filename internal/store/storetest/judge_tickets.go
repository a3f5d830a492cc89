package storetest

import (
	"fmt"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

func (j *judge) tracker(name string) upgrade.Tracker {
	j.Helper()
	t, err := j.CreateTracker(j.Context(), upgrade.Tracker{Name: name, Kind: "github", URL: "https://git.example.test/" + name}, by("usr-1"), start)
	j.ok(err)
	return t
}

func trackerLife(j *judge) {
	ctx := j.Context()
	given := full[upgrade.Tracker](0)
	given.Name = "b"
	made, err := j.CreateTracker(ctx, given, by("usr-1"), at(1))
	j.ok(err)
	j.told(audit.TrackerAdded, "tracker", "b")
	given.ID, given.Created = made.ID, at(1)
	if made.ID == 0 {
		j.Fatal("no id")
	}
	j.equal("made", made, given)
	other := j.tracker("a")
	all, err := j.Trackers(ctx)
	j.ok(err)
	j.equal("trackers", all, []upgrade.Tracker{other, made})
	_, err = j.CreateTracker(ctx, given, by("usr-1"), at(2))
	j.refused(err, problem.Conflict, "tracker-exists")
	_, err = j.ListTickets(ctx, "none", 10)
	j.refused(err, problem.NotFound, "tracker")
	j.refused(j.RemoveTracker(ctx, "none", by("usr-1"), at(2)), problem.NotFound, "tracker")

	u := j.upgrade("d", "1.0.0")
	j.want("b", u.ID, "d1", at(2))
	j.want("a", u.ID, "d1", at(2))
	held := j.leaseTickets(at(2), 10, "b d wanted ", "a d wanted ")[0]
	j.ok(j.RemoveTracker(ctx, "b", by("usr-1"), at(2)))
	j.told(audit.TrackerRemoved, "tracker", "b")
	j.refused(j.SettleTicket(ctx, held, at(2)), problem.Conflict, "lease")
	again, err := j.CreateTracker(ctx, given, by("usr-1"), at(3))
	j.ok(err)
	if again.ID == made.ID {
		j.Fatal("the number of a removed tracker was given again")
	}
	if list, err := j.ListTickets(ctx, "b", 10); err != nil || len(list) != 0 {
		j.Fatalf("%v, %v", list, err)
	}
	j.leaseTickets(at(10), 10, "a d wanted ")
}

func (j *judge) want(tracker string, id int64, digest string, now time.Time) {
	j.Helper()
	j.ok(j.WantTicket(j.Context(), tracker, id, "marker of "+digest, digest, now))
}

// leaseTickets takes what is due, and says for each its tracker, deployment,
// state and digest.
func (j *judge) leaseTickets(now time.Time, limit int, want ...string) []upgrade.Ticket {
	j.Helper()
	got, err := j.LeaseTickets(j.Context(), now, time.Minute, limit)
	j.ok(err)
	var said []string
	for _, t := range got {
		if t.Lease == 0 {
			j.Fatalf("ticket %+v", t)
		}
		said = append(said, fmt.Sprint(t.Tracker, " ", j.story(t.Upgrade).Deployment, " ", t.State, " ", t.Digest))
	}
	j.names("leased", said, want...)
	return got
}

func ticketLife(j *judge) {
	ctx := j.Context()
	j.tracker("a")
	d, e := j.upgrade("d", "1.0.0"), j.upgrade("e", "1.0.0")
	j.leaseTickets(at(0), 10)
	j.want("a", d.ID, "d1", at(2))
	j.want("a", e.ID, "d1", at(1))
	j.refused(j.WantTicket(ctx, "none", d.ID, "m", "d1", at(2)), problem.NotFound, "tracker")
	j.refused(j.WantTicket(ctx, "a", 12345, "m", "d1", at(2)), problem.NotFound, "upgrade")
	j.leaseTickets(at(1).Add(-time.Millisecond), 10)
	j.leaseTickets(at(2), 1, "a e wanted ")
	t := j.leaseTickets(at(2), 10, "a d wanted ")[0]
	want := upgrade.Ticket{ID: t.ID, Tracker: "a", Upgrade: d.ID, Marker: "marker of d1", State: "wanted", Due: at(2), Lease: t.Lease}
	j.equal("ticket", t, want)
	j.leaseTickets(at(2), 10)

	made := t
	made.Number, made.URL, made.State, made.Digest, made.Attempts, made.Due, made.Error = 7, "https://git.example.test/7", "open", "d1", 1, time.Time{}, "odd\x00"
	j.ok(j.SettleTicket(ctx, made, at(2)))
	for _, lease := range []int64{t.Lease, t.Lease + 1, 0} {
		late := made
		late.Lease, late.State = lease, "failed"
		j.refused(j.SettleTicket(ctx, late, at(2)), problem.Conflict, "lease")
	}
	list, err := j.ListTickets(ctx, "a", 10)
	j.ok(err)
	made.Lease, made.Error = 0, "odd\ufffd"
	if len(list) != 2 {
		j.Fatalf("tickets %+v", list)
	}
	j.equal("settled", list[1], made)
	if all, err := j.ListTickets(ctx, "", 10); err != nil || len(all) < len(list) {
		j.Errorf("tickets of all trackers: %d, %v", len(all), err)
	}
	if list, err = j.ListTickets(ctx, "a", 1); err != nil || len(list) != 1 || list[0].Upgrade != e.ID {
		j.Fatalf("newest %+v, %v", list, err)
	}

	again := j.leaseTickets(at(30), 10, "a e wanted ")[0] // the lease ran out
	again.Due, again.Attempts, again.Error = at(60), 1, "no answer"
	j.ok(j.SettleTicket(ctx, again, at(30)))
	j.leaseTickets(at(59), 10)
	again = j.leaseTickets(at(60), 10, "a e wanted ")[0]
	if again.Attempts != 1 || again.Error != "no answer" {
		j.Fatalf("ticket %+v", again)
	}
	odd := again
	odd.State = "lost"
	if err := j.SettleTicket(ctx, odd, at(60)); err == nil {
		j.Fatal("a state that is none was recorded")
	}
	again.State, again.Due = "failed", time.Time{}
	j.ok(j.SettleTicket(ctx, again, at(60)))
	j.leaseTickets(at(1000), 10)
}

// ticketsWanted asks for texts while tickets wait, are worked on, and have
// failed.
func ticketsWanted(j *judge) {
	ctx := j.Context()
	j.tracker("a")
	d := j.upgrade("d", "1.0.0")
	settle := func(t upgrade.Ticket, state, digest string, due time.Time) {
		j.Helper()
		t.State, t.Digest, t.Due, t.Attempts = state, digest, due, t.Attempts+1
		if state == "open" {
			t.Number = 7
		}
		j.ok(j.SettleTicket(ctx, t, at(0)))
	}
	j.want("a", d.ID, "d1", at(0))
	settle(j.leaseTickets(at(0), 10, "a d wanted ")[0], "wanted", "", at(30))
	j.want("a", d.ID, "d1", at(1)) // the same: its pause holds
	j.leaseTickets(at(29), 10)
	j.want("a", d.ID, "d2", at(2)) // another: at once, and from the beginning
	t := j.leaseTickets(at(2), 10, "a d wanted ")[0]
	if t.Attempts != 0 || t.Marker != "marker of d1" {
		j.Fatalf("ticket %+v", t)
	}
	j.want("a", d.ID, "d3", at(2)) // while it is worked on: once more
	settle(t, "open", "d2", time.Time{})
	settle(j.leaseTickets(at(2), 10, "a d open d2")[0], "open", "d3", time.Time{})
	j.want("a", d.ID, "d3", at(5))
	j.leaseTickets(at(1000), 10)
	j.want("a", d.ID, "d4", at(6))
	t = j.leaseTickets(at(6), 10, "a d open d3")[0]
	settle(t, "open", "d5", time.Time{}) // the text changed after it was wanted
	j.want("a", d.ID, "d5", at(7))
	j.leaseTickets(at(1000), 10)
	j.want("a", d.ID, "d6", at(8))
	settle(j.leaseTickets(at(8), 10, "a d open d5")[0], "failed", "d5", time.Time{})
	j.want("a", d.ID, "d6", at(9)) // given up
	j.leaseTickets(at(1000), 10)
	j.want("a", d.ID, "d7", at(10)) // and begun anew
	t = j.leaseTickets(at(10), 10, "a d open d5")[0]
	if t.Attempts != 0 || t.Number != 7 {
		j.Fatalf("ticket %+v", t)
	}
	settle(t, "closed", "d7", time.Time{})
	j.want("a", d.ID, "d8", at(11))
	j.leaseTickets(at(11), 10, "a d closed d7")
	j.reopen() // the process ends while it holds the lease
	settle(j.leaseTickets(at(20), 10, "a d closed d7")[0], "closed", "d8", time.Time{})
	j.leaseTickets(at(1000), 10)

	e := j.upgrade("e", "1.0.0")
	j.want("a", e.ID, "d1", at(20))
	settle(j.leaseTickets(at(20), 10, "a e wanted ")[0], "failed", "", time.Time{})
	j.want("a", e.ID, "d2", at(21))
	j.leaseTickets(at(21), 10, "a e wanted ")
}
