package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

func (j *judge) readReview(digest string) upgrade.Review {
	j.Helper()
	r, err := j.Review(j.Context(), digest)
	j.ok(err)
	return r
}

func reviewLife(j *judge) {
	ctx := j.Context()
	size := j.size()
	given := reviewOf("d", "1.0.0", "2.0.0", 1)
	given.ID, given.State, given.Signoffs = 77, upgrade.ReviewSigned, []upgrade.Signoff{{By: "nobody"}} // do not count
	made, err := j.PutReview(ctx, given)
	j.ok(err)
	want := reviewOf("d", "1.0.0", "2.0.0", 1)
	want.ID, want.State, want.Signoffs = made.ID, upgrade.ReviewOpen, []upgrade.Signoff{}
	if made.ID == 0 {
		j.Fatal("no id")
	}
	j.equal("made", made, want)
	j.equal("read", j.readReview(want.Digest), want)
	other := given
	other.Chart = "another" // the digest decides
	again, err := j.PutReview(ctx, other)
	j.ok(err)
	j.equal("again", again, want)
	if got, err := j.ListReviews(ctx, upgrade.ReviewFilter{}); err != nil || len(got) != 1 || j.size() != size {
		j.Fatalf("%d reviews, %v", len(got), err)
	}
	for _, digest := range []string{"", "sha256:", want.Digest[7:], want.Digest + "0", want.Digest[:70], strings.ToUpper(want.Digest)} {
		bad := given
		bad.Digest = digest
		if _, err := j.PutReview(ctx, bad); err == nil {
			j.Fatalf("a review with the digest %q was put", digest)
		}
	}
}

// reviewFields has every field survive, so that the digest can be computed anew
// from what is read.
func reviewFields(j *judge) {
	r := full[upgrade.Review](0)
	r.Digest, r.Deployment = reviewDigest("full", 0), strings.Repeat("long/", 200)+"\x00"
	r.Compared.Findings = append(r.Compared.Findings, manifest.Finding{Message: strings.Repeat("words ", 100_000)})
	made, err := j.PutReview(j.Context(), r)
	j.ok(err)
	r.ID, r.State, r.Signoffs = made.ID, upgrade.ReviewOpen, []upgrade.Signoff{}
	j.equal("made", made, r)
	got := j.readReview(r.Digest)
	j.equal("read", got, r)
	before, err := json.Marshal(r)
	j.ok(err)
	after, err := json.Marshal(got)
	j.ok(err)
	if string(before) != string(after) {
		j.Fatal("the JSON of the review that was read is another one")
	}
	list, err := j.ListReviews(j.Context(), upgrade.ReviewFilter{Deployment: r.Deployment, Chart: r.Chart, To: r.To.Version})
	j.ok(err)
	light := r
	light.Compared, light.Notes, light.Remaining = manifest.Comparison{}, nil, nil
	for _, findings := range []*[]upgrade.Finding{&light.Closed, &light.Introduced} {
		*findings = append([]upgrade.Finding(nil), *findings...)
		for i := range *findings {
			(*findings)[i].Decision.Rules = []decision.Rule{}
		}
	}
	j.equal("listed", list, []upgrade.Review{light})
	if len(r.Closed[0].Decision.Rules) != 2 {
		j.Fatal("the list changed what was put")
	}
}

func reviewDigests(j *judge) {
	ctx := j.Context()
	put := func(digest string) {
		j.Helper()
		r := reviewOf("d", "1", digest, 0)
		r.Digest = digest
		_, err := j.PutReview(ctx, r)
		j.ok(err)
	}
	digest := func(head string) string { return "sha256:" + head + strings.Repeat("0", 64-len(head)) }
	a, b, f := digest("aaaaaaaa1"), digest("aaaaaaaa2"), digest(strings.Repeat("f", 64))
	put(a)
	put(b)
	put(f)
	for short, want := range map[string]string{a[:16]: a, a: a, b[:16]: b, f[:15]: f, f: f, f[:70]: f} {
		if got := j.readReview(short); got.Digest != want {
			j.Fatalf("%s is %s", short, got.Digest)
		}
	}
	_, err := j.Review(ctx, a[:15])
	if p := j.refused(err, problem.Invalid, "review-digest"); fact(p, "two of them") != a+", "+b {
		j.Fatalf("facts %v", p.Facts)
	}
	_, err = j.Review(ctx, a[:14])
	j.refused(err, problem.Invalid, "review-digest")
	_, err = j.Review(ctx, "sha256:")
	j.refused(err, problem.Invalid, "review-digest")
	for _, none := range []string{"sha256:bbbbbbbb", a + "0", "", "aaaaaaaa1", "sha256:AAAAAAAA1", "sha256:aaaaaaa%", "sha256:gggggggg", "sha512:" + a[7:], "sha256:aaaaaaaa\x00"} {
		_, err := j.Review(ctx, none)
		j.refused(err, problem.NotFound, "review")
	}
}

func reviewsReplaced(j *judge) {
	state := func(n int, want upgrade.ReviewState) {
		j.Helper()
		if got := j.readReview(reviewDigest("d", n)).State; got != want {
			j.Fatalf("review %d is %s, want %s", n, got, want)
		}
	}
	j.review("d", "1.0.0", "2.0.0", 1)
	j.review("e", "1.0.0", "2.0.0", 1)
	j.review("d", "1.0.0", "3.0.0", 2)
	j.review("d", "1.0.0", "2.0.0", 3)
	state(1, upgrade.ReviewReplaced)
	state(2, upgrade.ReviewOpen)
	state(3, upgrade.ReviewOpen)
	if r := j.readReview(reviewDigest("e", 1)); r.State != upgrade.ReviewOpen {
		j.Fatalf("that of another deployment is %s", r.State)
	}
	if r := j.review("d", "1.0.0", "2.0.0", 1); r.State != upgrade.ReviewOpen { // its inputs are back
		j.Fatalf("state %s", r.State)
	}
	state(3, upgrade.ReviewReplaced)
	if r := j.review("d", "1.0.0", "2.0.0", 3); r.State != upgrade.ReviewOpen {
		j.Fatalf("state %s", r.State)
	}
	state(1, upgrade.ReviewReplaced)
	s, leaf := word(j.readReview(reviewDigest("d", 3)), upgrade.Reviewer, "usr-1", at(1))
	_, err := j.SignReview(j.Context(), s.Digest, s, leaf, by("usr-1"), func(upgrade.Review) (upgrade.ReviewState, error) { return upgrade.ReviewSigned, nil })
	j.ok(err)
	j.review("d", "1.1.0", "2.0.0", 4)
	state(3, upgrade.ReviewSigned) // what people have said stays
	state(4, upgrade.ReviewOpen)
	if r := j.review("d", "1.0.0", "2.0.0", 3); r.State != upgrade.ReviewSigned || len(r.Signoffs) != 1 {
		j.Fatalf("back at a review that was signed: %+v", r)
	}
	state(4, upgrade.ReviewReplaced)
}

func reviewLists(j *judge) {
	ctx := j.Context()
	for i := range 6 {
		r := reviewOf([]string{"d", "e"}[i%2], "1", fmt.Sprint(i/2), i)
		r.Chart = []string{"web", "db", "web"}[i%3]
		_, err := j.PutReview(ctx, r)
		j.ok(err)
	}
	j.review("d", "1", "0", 9)
	all, err := j.ListReviews(ctx, upgrade.ReviewFilter{})
	j.ok(err)
	list := func(f upgrade.ReviewFilter, want ...string) {
		j.Helper()
		got, err := j.ListReviews(ctx, f)
		j.ok(err)
		var said []string
		for _, r := range got {
			said = append(said, fmt.Sprintf("%s/%s@%s", r.Deployment, r.Chart, r.To.Version))
		}
		j.names(fmt.Sprintf("%+v", f), said, want...)
	}
	list(upgrade.ReviewFilter{}, "d/web@0", "e/web@2", "d/db@2", "e/web@1", "d/web@1", "e/db@0", "d/web@0")
	list(upgrade.ReviewFilter{Limit: 2}, "d/web@0", "e/web@2")
	list(upgrade.ReviewFilter{Before: all[1].ID, Limit: 2}, "d/db@2", "e/web@1")
	list(upgrade.ReviewFilter{Deployment: "e"}, "e/web@2", "e/web@1", "e/db@0")
	list(upgrade.ReviewFilter{Deployment: "e", Chart: "web", To: "1"}, "e/web@1")
	list(upgrade.ReviewFilter{Chart: "db"}, "d/db@2", "e/db@0")
	list(upgrade.ReviewFilter{To: "0"}, "d/web@0", "e/db@0", "d/web@0")
	list(upgrade.ReviewFilter{State: upgrade.ReviewReplaced}, "d/web@0")
	list(upgrade.ReviewFilter{State: upgrade.ReviewSigned})
	list(upgrade.ReviewFilter{Deployment: "none"})
}

func signoffs(j *judge) {
	ctx := j.Context()
	r := j.review("d", "1.0.0", "2.0.0", 1)
	size := j.size()
	now := at(3).Add(456 * time.Millisecond)
	s, leaf := word(r, upgrade.Reviewer, "usr-1", now)
	got, err := j.SignReview(ctx, r.Digest, s, leaf, by("usr-1"), everyRole(upgrade.Reviewer))
	j.ok(err)
	j.told(audit.ReviewSigned, "review", r.Digest)
	s.LogIndex = size
	want := r
	want.Signoffs = []upgrade.Signoff{s}
	j.equal("signed once", got, want)
	j.equal("read", j.readReview(r.Digest), want)
	said := leaf
	said.Time = at(3)
	j.equal("leaf", j.signed(size), said)

	// A clock that is behind: the leaf follows the one before, the sign-off keeps
	// its time, which the leaf's digest covers.
	second, leaf := word(r, upgrade.Security, "usr-2", at(1))
	got, err = j.SignReview(ctx, r.Digest, second, leaf, by("usr-2"), func(seen upgrade.Review) (upgrade.ReviewState, error) {
		j.equal("seen", seen, want)
		return everyRole(upgrade.Security)(seen)
	})
	j.ok(err)
	second.LogIndex = size + 1
	want.State, want.Signoffs = upgrade.ReviewSigned, append(want.Signoffs, second)
	j.equal("signed", got, want)
	if o := j.signed(size + 1); !o.Time.Equal(at(3)) {
		j.Fatalf("leaf of %s", o.Time)
	}
	j.reopen()
	j.equal("read", j.readReview(r.Digest), want)
	list, err := j.ListReviews(ctx, upgrade.ReviewFilter{State: upgrade.ReviewSigned})
	j.ok(err)
	j.equal("listed", list[0].Signoffs, want.Signoffs)

	r = j.review("d", "1.0.0", "3.0.0", 2)
	s, leaf = word(r, upgrade.Reviewer, "usr-1", at(5))
	s.Accepted, leaf.Said = false, tlog.SignoffDeclined
	got, err = j.SignReview(ctx, r.Digest, s, leaf, by("usr-1"), func(upgrade.Review) (upgrade.ReviewState, error) { return upgrade.ReviewDeclined, nil })
	if err != nil || got.State != upgrade.ReviewDeclined || j.signed(got.Signoffs[0].LogIndex).Said != tlog.SignoffDeclined {
		j.Fatalf("%+v, %v", got, err)
	}
	j.told(audit.ReviewDeclined, "review", r.Digest)
}

// signoffsRefused has sign-offs that must leave nothing: no leaf, no event, no
// change.
func signoffsRefused(j *judge) {
	ctx := j.Context()
	r := j.review("d", "1.0.0", "2.0.0", 1)
	size, audits := j.size(), len(j.audited(lastAudits))
	s, good := word(r, upgrade.Reviewer, "usr-1", at(1))
	accept := everyRole(upgrade.Reviewer)
	no := errors.New("no")
	if _, err := j.SignReview(ctx, r.Digest, s, good, by("usr-1"), func(upgrade.Review) (upgrade.ReviewState, error) { return "", no }); !errors.Is(err, no) {
		j.Fatal(err)
	}
	_, err := j.SignReview(ctx, r.Digest[:20], s, good, by("usr-1"), accept) // the whole digest is what is signed
	j.refused(err, problem.NotFound, "review")
	bad := good
	bad.Review = "no digest"
	if _, err := j.SignReview(ctx, r.Digest, s, bad, by("usr-1"), accept); problem.KindOf(err) != problem.Invalid {
		j.Fatal(err)
	}
	for _, leaf := range []tlog.Leaf{nil, tlog.Release{}} {
		if _, err := j.SignReview(ctx, r.Digest, s, leaf, by("usr-1"), accept); err == nil {
			j.Fatalf("a sign-off with the leaf %T", leaf)
		}
	}
	broken := by("usr-1")
	broken.ID = "no ULID"
	if _, err := j.SignReview(ctx, r.Digest, s, good, broken, accept); err == nil {
		j.Fatal("an event that cannot be encoded")
	}
	j.equal("review", j.readReview(r.Digest), r)
	if n := len(j.audited(lastAudits)); j.size() != size || n != audits {
		j.Fatalf("%d leaves and %d events are new", j.size()-size, n-audits)
	}
	_, err = j.SignReview(ctx, r.Digest, s, good, by("usr-1"), accept)
	j.ok(err)
}

// failingSignoffs mixes sign-offs that must fail with good ones, so that they
// meet in one transaction.
func failingSignoffs(j *judge) {
	ctx := j.Context()
	var wg sync.WaitGroup
	for i := range 40 {
		r := j.review(fmt.Sprint("d", i), "1.0.0", "2.0.0", i)
		wg.Go(func() {
			s, leaf := word(r, upgrade.Reviewer, "usr-1", at(i))
			check := everyRole(upgrade.Reviewer)
			if i%4 == 0 {
				leaf.Text = ""
			}
			if i%7 == 0 {
				check = func(upgrade.Review) (upgrade.ReviewState, error) { return "", errors.New("no") }
			}
			_, err := j.SignReview(ctx, r.Digest, s, leaf, by("usr-1"), check)
			if bad := i%4 == 0 || i%7 == 0; bad != (err != nil) {
				j.Errorf("sign-off %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i := range 40 {
		r := j.readReview(reviewDigest(fmt.Sprint("d", i), i))
		if i%4 == 0 || i%7 == 0 {
			if len(r.Signoffs) != 0 {
				j.Fatalf("review %d: %+v", i, r.Signoffs)
			}
			continue
		}
		if len(r.Signoffs) != 1 || j.signed(r.Signoffs[0].LogIndex).Review != r.Digest {
			j.Fatalf("review %d: %+v", i, r.Signoffs)
		}
	}
}
