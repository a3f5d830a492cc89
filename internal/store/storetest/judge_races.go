package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// RaceJudge has many do the same at once, spread over stores of one database.
// Its error says what is not as it must be.
func RaceJudge(ctx context.Context, now time.Time, rounds int, stores ...JudgeStore) error {
	r := &judgeRace{ctx: ctx, now: now, stores: stores}
	for round := range rounds {
		for _, race := range []func(round int) error{r.reviews, r.signoffs, r.exposures, r.upgrades, r.plans, r.feeds, r.tickets} {
			if err := race(round); err != nil {
				return fmt.Errorf("round %d: %w", round, err)
			}
		}
	}
	return nil
}

type judgeRace struct {
	ctx    context.Context
	now    time.Time
	stores []JudgeStore
}

// all runs do with each of 32 racers at once.
func (r *judgeRace) all(do func(s JudgeStore, i int) error) error {
	const racers = 32
	errs := make([]error, racers)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() { errs[i] = do(r.stores[i%len(r.stores)], i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// reviews has one review put by all, and then many of one move.
func (r *judgeRace) reviews(round int) error {
	deployment := fmt.Sprint("review-", round)
	ids := make([]int64, 32)
	err := r.all(func(s JudgeStore, i int) error {
		made, err := s.PutReview(r.ctx, reviewOf(deployment, "1", "2", 0))
		ids[i] = made.ID
		return err
	})
	if err != nil {
		return err
	}
	if slices.Min(ids) != slices.Max(ids) {
		return fmt.Errorf("one digest has the reviews %v", ids)
	}
	if err := r.all(func(s JudgeStore, i int) error {
		_, err := s.PutReview(r.ctx, reviewOf(deployment, "1", "2", 1+i))
		return err
	}); err != nil {
		return err
	}
	list, err := r.stores[0].ListReviews(r.ctx, upgrade.ReviewFilter{Deployment: deployment, Limit: 1000})
	if err != nil || len(list) != 33 || list[0].State != upgrade.ReviewOpen {
		return fmt.Errorf("%d reviews, %w", len(list), err)
	}
	for _, old := range list[1:] {
		if old.State != upgrade.ReviewReplaced {
			return fmt.Errorf("review %d is %s, and review %d is newer", old.ID, old.State, list[0].ID)
		}
	}
	return nil
}

// signoffs has all sign one review in one of two roles.
func (r *judgeRace) signoffs(round int) error {
	made, err := r.stores[0].PutReview(r.ctx, reviewOf(fmt.Sprint("sign-", round), "1", "2", 0))
	if err != nil {
		return err
	}
	before, err := r.stores[0].LogInfo(r.ctx)
	if err != nil {
		return err
	}
	done := make([]bool, 32)
	err = r.all(func(s JudgeStore, i int) error {
		role := []upgrade.SignRole{upgrade.Reviewer, upgrade.Security}[i/2%2]
		sign, leaf := word(made, role, fmt.Sprint("usr-", i), r.now)
		_, err := s.SignReview(r.ctx, made.Digest, sign, leaf, by("usr-suite"), everyRole(role))
		if done[i] = err == nil; !done[i] && strings.Contains(err.Error(), "has signed") {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	after, err := r.stores[0].LogInfo(r.ctx)
	if err != nil {
		return err
	}
	signed, err := r.stores[len(r.stores)-1].Review(r.ctx, made.Digest)
	n := 0
	for _, d := range done {
		if d {
			n++
		}
	}
	if err != nil || n != 2 || len(signed.Signoffs) != 2 || signed.State != upgrade.ReviewSigned || after.Size != before.Size+2 {
		return fmt.Errorf("%d were told that they signed, %d have, the review is %s, the log has %d leaves more, %w", n, len(signed.Signoffs), signed.State, after.Size-before.Size, err)
	}
	for _, sign := range signed.Signoffs {
		text, err := r.stores[0].Leaf(r.ctx, sign.LogIndex)
		if err != nil {
			return err
		}
		leaf, err := tlog.ParseLeaf(text)
		if said, ok := leaf.(tlog.Signoff); err != nil || !ok || said.Signer.Subject != sign.By || said.Role != string(sign.Role) {
			return fmt.Errorf("the sign-off of %s as %s has the leaf %+v, %w", sign.By, sign.Role, leaf, err)
		}
	}
	return nil
}

// exposures has all make another list what is open on one deployment.
func (r *judgeRace) exposures(round int) error {
	deployment := fmt.Sprint("exposure-", round)
	lists := make([]string, 32)
	var mu sync.Mutex
	opened, closed := map[string]int{}, map[string]int{}
	err := r.all(func(s JudgeStore, i int) error {
		var list []upgrade.Exposed
		var keys []string
		for k := range 12 {
			if (i>>(k%5))&1 == 1 || k == 11 {
				keys = append(keys, fmt.Sprintf("key-%02d", k))
				list = append(list, exposed(keys[len(keys)-1]))
			}
		}
		lists[i] = strings.Join(keys, " ")
		in, out, err := s.SyncExposures(r.ctx, deployment, list, func(upgrade.Exposed) string { return "how" }, r.now.Add(time.Duration(i)*time.Second))
		mu.Lock()
		defer mu.Unlock()
		for _, e := range in {
			opened[e.Key]++
		}
		for _, e := range out {
			closed[e.Key]++
		}
		return err
	})
	if err != nil {
		return err
	}
	var open []string
	got, err := r.stores[0].OpenExposures(r.ctx, deployment)
	for _, e := range got {
		open = append(open, e.Key)
	}
	if err != nil || !slices.Contains(lists, strings.Join(open, " ")) {
		return fmt.Errorf("open are %v, which is no list that was synced, %w", open, err)
	}
	rows := map[string]int{}
	err = r.stores[0].ExposuresSince(r.ctx, time.Time{}, func(e upgrade.Exposed) error {
		if e.Deployment == deployment {
			rows[e.Key]++
		}
		return nil
	})
	for key, n := range rows {
		still := 0
		if slices.Contains(open, key) {
			still = 1
		}
		if n != opened[key] || n != closed[key]+still {
			return fmt.Errorf("%s has %d rows, was told to be opened %d times and closed %d times, and is open %d times", key, n, opened[key], closed[key], still)
		}
	}
	return err
}

// upgrades has all put one of two versions, and then one of them.
func (r *judgeRace) upgrades(round int) error {
	deployment := fmt.Sprint("upgrade-", round)
	if err := r.all(func(s JudgeStore, i int) error {
		_, err := s.PutUpgrade(r.ctx, upgradeOf(deployment, fmt.Sprint(i/2%2)), r.now)
		return err
	}); err != nil {
		return err
	}
	ids := make([]int64, 32)
	if err := r.all(func(s JudgeStore, i int) error {
		u, err := s.PutUpgrade(r.ctx, upgradeOf(deployment, "2"), r.now)
		ids[i] = u.ID
		return err
	}); err != nil {
		return err
	}
	open, err := r.stores[0].ListUpgrades(r.ctx, upgrade.UpgradeFilter{Deployment: deployment, Open: true})
	if err != nil || len(open) != 1 || slices.Min(ids) != slices.Max(ids) || open[0].ID != ids[0] {
		return fmt.Errorf("open are %+v of %v, %w", open, ids, err)
	}
	if err := r.all(func(s JudgeStore, i int) error {
		_, err := s.MoveUpgrade(r.ctx, ids[0], nil, nil, func(u upgrade.Upgrade) (upgrade.Upgrade, error) {
			u.Steps = append(u.Steps, upgrade.Step{Text: fmt.Sprint(i)})
			return u, nil
		})
		return err
	}); err != nil {
		return err
	}
	u, err := r.stores[0].Upgrade(r.ctx, ids[0])
	if err != nil || len(u.Steps) != 33 {
		return fmt.Errorf("of 32 steps and the first %d are there, %w", len(u.Steps), err)
	}
	return nil
}

// plans has all put another plan.
func (r *judgeRace) plans(round int) error {
	deployment := fmt.Sprint("plan-", round)
	if err := r.all(func(s JudgeStore, i int) error {
		return s.PutPlan(r.ctx, upgrade.Plan{Deployment: deployment, Digest: sha256Of(fmt.Append(nil, deployment, i/2))})
	}); err != nil {
		return err
	}
	left := 0
	for i := range 16 {
		if _, err := r.stores[0].Plan(r.ctx, sha256Of(fmt.Append(nil, deployment, i))); err == nil {
			left++
		} else if problem.KindOf(err) != problem.NotFound {
			return err
		}
	}
	if _, err := r.stores[0].Plan(r.ctx, deployment); err != nil || left != 1 {
		return fmt.Errorf("%d plans are left, %w", left, err)
	}
	return nil
}

// feeds has all lease and read what is due; each feed once.
func (r *judgeRace) feeds(round int) error {
	const feeds = 6
	for i := range feeds {
		if _, err := r.stores[0].CreateFeed(r.ctx, mirrorOf(fmt.Sprintf("race-%d-%d", round, i)), by("usr-suite"), r.now); err != nil {
			return err
		}
	}
	before, err := r.stores[0].Inputs(r.ctx)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	read := map[string]int{}
	err = r.all(func(s JudgeStore, i int) error {
		got, err := s.LeaseFeeds(r.ctx, r.now, time.Minute, 1+i%3)
		for _, l := range got {
			mu.Lock()
			read[l.Feed.Name]++
			mu.Unlock()
			_, rerr := s.RecordFeed(r.ctx, l.Feed.Name, l.Token, upgrade.FeedHealth{NextTry: r.now.Add(1000 * time.Hour)}, watch.Validators{},
				&advisory.Snapshot{Digest: sha256Of([]byte(l.Feed.Name))}, nil, r.now)
			err = errors.Join(err, rerr)
		}
		return err
	})
	if err != nil {
		return err
	}
	for name, n := range read {
		if n != 1 {
			return fmt.Errorf("feed %s was read %d times", name, n)
		}
	}
	after, err := r.stores[0].Inputs(r.ctx)
	if err != nil || len(read) != feeds || after != before+feeds {
		return fmt.Errorf("%d feeds were read, the number of the inputs went from %d to %d, %w", len(read), before, after, err)
	}
	return nil
}

// tickets has all want one ticket, and then work on what is due; each once.
func (r *judgeRace) tickets(round int) error {
	tracker := fmt.Sprint("race-", round)
	if _, err := r.stores[0].CreateTracker(r.ctx, upgrade.Tracker{Name: tracker}, by("usr-suite"), r.now); err != nil {
		return err
	}
	var ids []int64
	for i := range 6 {
		u, err := r.stores[0].PutUpgrade(r.ctx, upgradeOf(fmt.Sprintf("ticket-%d-%d", round, i), "1"), r.now)
		if err != nil {
			return err
		}
		ids = append(ids, u.ID)
	}
	if err := r.all(func(s JudgeStore, i int) error {
		return s.WantTicket(r.ctx, tracker, ids[i/2%6], fmt.Sprint("marker", i), "d1", r.now)
	}); err != nil {
		return err
	}
	var mu sync.Mutex
	made := map[int64]int{}
	err := r.all(func(s JudgeStore, i int) error {
		got, err := s.LeaseTickets(r.ctx, r.now, time.Minute, 1+i%3)
		for _, t := range got {
			mu.Lock()
			made[t.Upgrade]++
			mu.Unlock()
			t.State, t.Digest, t.Number, t.Due = "open", "d1", t.Upgrade, time.Time{}
			err = errors.Join(err, s.SettleTicket(r.ctx, t, r.now))
		}
		return err
	})
	if err != nil {
		return err
	}
	for id, n := range made {
		if n != 1 {
			return fmt.Errorf("the ticket of upgrade %d was made %d times", id, n)
		}
	}
	list, err := r.stores[len(r.stores)-1].ListTickets(r.ctx, tracker, 100)
	if err != nil || len(made) != 6 || len(list) != 6 {
		return fmt.Errorf("%d tickets were made, %d are there, %w", len(made), len(list), err)
	}
	return nil
}

// judgeReopened reads everything again in another process.
func judgeReopened(j *judge) {
	ctx := j.Context()
	j.feed(mirrorOf("osv"))
	j.record("osv", 0, upgrade.FeedHealth{Failures: 1}, watch.Validators{ETag: "e"}, snapshotOf("a"))
	j.ok(j.SetPolicy(ctx, full[upgrade.PolicyDocument](0), by("usr-1")))
	windows(j)
	r := j.review("d", "1", "2", 1)
	s, leaf := word(r, upgrade.Reviewer, "usr-1", at(1))
	_, err := j.SignReview(ctx, r.Digest, s, leaf, by("usr-1"), everyRole(upgrade.Reviewer))
	j.ok(err)
	j.sync("d", at(0), nil, "a", "b")
	j.sync("d", at(1), nil, "b")
	u := j.upgrade("d", "1.0.0")
	j.ok(j.PutPlan(ctx, planOf("d", 1)))
	j.ok(j.PutAssessment(ctx, full[upgrade.Assessment](0)))
	j.tracker("a")
	j.want("a", u.ID, "d1", at(0))
	_, err = j.CreateWaiver(ctx, full[upgrade.Waiver](0), by("usr-1"))
	j.ok(err)
	state := func() (all []any) {
		for _, read := range []func() (any, error){
			func() (any, error) { return j.Feeds(ctx) }, func() (any, error) { return j.Snapshots(ctx, "osv", 10) }, func() (any, error) { return j.Inputs(ctx) },
			func() (any, error) { return j.Policies(ctx, 10) }, func() (any, error) { return j.Windows(ctx) }, func() (any, error) { return j.Waivers(ctx, time.Time{}) },
			func() (any, error) { return j.Review(ctx, r.Digest) }, func() (any, error) { return j.ListReviews(ctx, upgrade.ReviewFilter{}) },
			func() (any, error) { return j.since(time.Time{}), nil }, func() (any, error) { return j.ListUpgrades(ctx, upgrade.UpgradeFilter{}) },
			func() (any, error) { return j.Plans(ctx) }, func() (any, error) { return j.Summaries(ctx) }, func() (any, error) { return j.Trackers(ctx) },
			func() (any, error) { return j.ListTickets(ctx, "a", 10) },
		} {
			got, err := read()
			j.ok(err)
			all = append(all, got)
		}
		return all
	}
	before := state()
	j.reopen()
	j.equal("state", state(), before)
}
