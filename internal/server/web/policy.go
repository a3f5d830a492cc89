package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/signature"
)

// policyPage says what a project asks of its releases, since when, and how that
// can change.
type policyPage struct {
	frame
	Project   string
	Target    string // of the forms
	Digest    string
	Sentences []string
	Signers   []signerRow
	Document  string
	Leaf      *leafRef // that states the policy; nil when the reader may not know
	Pending   []requestView
	History   []policyChange
	Older     string // URL of older changes
	NoTrail   bool   // the reader may not read who changed what
	MayWrite  bool
	Trial     *trialView // of what was proposed
	Typed     string     // the document in the form
	Failed    *failedForm
}

// leafRef leads to a leaf.
type leafRef struct {
	Index int64
	URL   string
}

// signerRow is a key or an identity that a policy knows.
type signerRow struct {
	Name, Kind      string
	Issuer, Subject string
	PGP             bool
	Fingerprint     string // of a PGP key, in groups of four digits; "" when it cannot be read
	Charts          []string
	Publishers      []string
	Owner           string
	From, Until     moment
	Revoked         moment
	Ended           bool
}

// policyChange is one change that took effect.
type policyChange struct {
	Time          moment
	By, Second    string
	Weaker        bool
	Before, After string
	Leaf          *leafRef
	Request       link
}

// proposal is a policy that somebody typed, with what would come of it.
type proposal struct {
	text  string
	trial *trialView
	ref   refusal
}

// trialView is what would come of a policy.
type trialView struct {
	Digest   string
	Same     bool     // it is the one in force
	Weaker   []string // what it lets through
	Second   []string // why it takes two people; none: it counts at once
	Delay    string   // that an approval waits
	Asks     []string // the new policy in sentences
	Examined int
	Refused  []trialRow
	More     int
	Next     string // chart after which there are more
	After    string // chart after which these begin
	Document string
}

type trialRow struct {
	Release link
	Time    string
	Why     []string
}

const (
	changesPerPage = 20
	trialRowsShown = 100
)

// policy costs one policy, the open requests of the project, and a page of its
// changes.
func (d *Door) policy(w http.ResponseWriter, r *http.Request, project string, made proposal) error {
	ctx, c := r.Context(), server.CallerOf(r)
	proj, err := d.svc.Project(ctx, c, project)
	if err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	p := &policyPage{
		frame: d.frameOf(r, "Policy of "+proj.Name, "charts", link{"Charts", base + "/projects"},
			link{proj.Name, projectPath(base, proj.Name)}, link{"Policy", ""}),
		Project: proj.Name, Target: policyPath(base, proj.Name), Digest: proj.PolicyDigest, Sentences: policySentences(&proj.Policy),
		Document: policyText(release.PolicyText(proj.Policy)), Failed: made.ref.view(), Trial: made.trial,
	}
	p.Signers = p.signers(proj.Policy.Signatures)
	p.MayWrite = d.mayAct(ctx, c, access.PolicyWrite, proj.Name)
	p.Typed = cmp.Or(made.text, p.Document)
	if d.mayAct(ctx, c, access.PolicyRead, proj.Name) {
		if err := d.showPending(ctx, c, p); err != nil {
			return err
		}
	}
	if p.NoTrail = !d.mayAct(ctx, c, access.AuditRead, proj.Name); !p.NoTrail {
		before, _ := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
		if err := d.showChanges(ctx, c, p, max(before, 0)); err != nil {
			return err
		}
	}
	return d.render(w, r, made.ref.statusOr(http.StatusOK), "policy", p)
}

// policyText is a policy for people: the canonical JSON, indented.
func policyText(canonical []byte) string { return string(plainJSON(canonical, "  ")) }

func (d *Door) showPending(ctx context.Context, c release.Caller, p *policyPage) error {
	list, err := d.svc.Requests(ctx, c, release.RequestFilter{Project: p.Project})
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Kind == release.RequestPolicy {
			p.Pending = append(p.Pending, d.requestView(ctx, c, &p.frame, &list[i]))
		}
	}
	return nil
}

// showChanges reads who changed the policy out of the audit trail. The newest
// event also says which leaf states the policy in force.
func (d *Door) showChanges(ctx context.Context, c release.Caller, p *policyPage, before int64) error {
	records, err := d.svc.Audit(ctx, c, release.AuditFilter{Project: p.Project, Action: "policy.", Before: before, Limit: changesPerPage})
	if err != nil {
		return err
	}
	for i := range records {
		e := &records[i].Event
		ch := policyChange{Time: moment{e.Time, p.Now.at}, By: who(&records[i]), Weaker: e.Name == audit.PolicyWeakened, Before: e.Before, After: e.After}
		if id, err := strconv.ParseInt(e.Detail["request"], 10, 64); err == nil {
			ch.Request = link{"request " + number(id), requestPath(p.Base, id)}
			ch.By, ch.Second = cmp.Or(e.Detail["requester"], ch.By), e.Detail["approver"]
			if q, err := d.svc.Request(ctx, c, id); err == nil {
				ch.By, ch.Second = byName(q.RequesterName, q.Requester), byName(q.DeciderName, q.Decider)
			}
		}
		if index, err := strconv.ParseInt(e.Detail[audit.DetailLeaf], 10, 64); err == nil {
			ch.Leaf = &leafRef{index, leafPath(p.Base, index)}
		}
		if p.Leaf == nil && ch.After == p.Digest {
			p.Leaf = ch.Leaf
		}
		p.History = append(p.History, ch)
	}
	if len(records) == changesPerPage {
		p.Older = p.Target + "?" + url.Values{"before": {strconv.FormatInt(records[len(records)-1].Index, 10)}}.Encode() + "#history"
	}
	return nil
}

// propose tries a policy, or gives it to the project. Nothing is changed before
// somebody has seen what it comes to, or names it again word by word.
func (d *Door) propose(w http.ResponseWriter, r *http.Request, project string) error {
	ctx, c, form := r.Context(), server.CallerOf(r), r.PostForm
	text := form.Get("document")
	policy, err := release.ParsePolicy([]byte(text))
	if err == nil {
		switch form.Get("do") {
		case "try":
			return d.try(w, r, project, text, policy)
		case "set":
			var set release.ProjectSet
			if set, err = d.svc.SetProject(ctx, c, project, release.ProjectChange{Policy: &policy, Text: strings.TrimSpace(form.Get("text"))}); err == nil {
				if set.Request != nil {
					return redirect(w, r, requestPath("", set.Request.ID))
				}
				return redirect(w, r, policyPath("", project)+"#force")
			}
		default:
			return unknownForm()
		}
	}
	ref, ok := refused("propose", err, form)
	if !ok {
		return err
	}
	return d.policy(w, r, project, proposal{text: typedDocument(text), ref: ref})
}

// typedDocument is a document that is shown again as it was typed.
func typedDocument(s string) string { return plainText([]byte(shorten(s, release.MaxPolicy))) }

// try shows what would come of a policy. Cost: see release.Service.TryPolicy.
func (d *Door) try(w http.ResponseWriter, r *http.Request, project, text string, policy release.Policy) error {
	ctx, c := r.Context(), server.CallerOf(r)
	proj, err := d.svc.Project(ctx, c, project)
	if err != nil {
		return err
	}
	after := shorten(r.PostForm.Get("after"), maxName)
	trial, err := d.svc.TryPolicy(ctx, c, project, policy, "", "", after)
	if err != nil {
		ref, ok := refused("propose", err, r.PostForm)
		if !ok {
			return err
		}
		return d.policy(w, r, project, proposal{text: typedDocument(text), ref: ref})
	}
	policy.Mirror = proj.Policy.Mirror // which never changes
	if policy, err = release.CheckPolicy(policy); err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	v := &trialView{
		Digest: release.PolicyDigest(policy), Weaker: shownList(trial.Weaker, linesShown), Second: shownList(release.NeedsSecond(proj.Policy, policy), linesShown),
		Delay: delayWords(proj.Policy.Delay()), Asks: policySentences(&policy), Examined: trial.Examined,
		More: max(0, len(trial.Items)-trialRowsShown), Next: trial.Next, After: after, Document: string(release.PolicyText(policy)),
	}
	v.Same = v.Digest == proj.PolicyDigest
	for i := range trial.Items[:min(len(trial.Items), trialRowsShown)] {
		x := &trial.Items[i]
		row := trialRow{Release: link{named(x.Release), ""}, Time: x.Time, Why: shownList(x.Refused, linesShown)}
		if project, chart, version, ok := parseRef(x.Release); ok {
			row.Release.URL = releasePath(base, project, chart, version)
		}
		v.Refused = append(v.Refused, row)
	}
	return d.policy(w, r, project, proposal{text: typedDocument(text), trial: v})
}

func delayWords(d time.Duration) string {
	if d <= 0 {
		return "no time at all"
	}
	return span(d)
}

// policySentences says what a policy asks, for people.
func policySentences(p *release.Policy) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if p.Mirror != "" {
		say("Only the mirror of the upstream %s releases here.", named(p.Mirror))
	}
	if p.RequireProvenance {
		say("A release stays invisible until its provenance file has arrived.")
	}
	switch s := p.Signatures; {
	case s == nil || s.Require != signature.Any && s.Require != signature.All:
		say("No signature is required. Signatures that come are looked at and shown.")
	default:
		verb := "needs"
		if s.DryRun {
			verb = "should have"
		}
		say("A release of %s %s %s before anybody gets it.", chartWords(s.Charts), verb, requiredWords(s))
		if s.DryRun {
			say("This is a trial: what is missing or does not hold is reported, and nothing is refused.")
		} else {
			say("A signature that does not hold is refused, and so is a release that comes with one.")
		}
		if s.Distinct {
			say("Whoever signs a release is not the one who published it.")
		}
	}
	say("A policy that lets more through, or takes a signer away, takes a second person and then waits for %s.", delayWords(p.Delay()))
	return out
}

func chartWords(globs []string) string {
	if len(globs) == 0 {
		return "every chart"
	}
	return "charts " + shown(strings.Join(globs, ", "), maxSentence)
}

var kindNames = map[signature.Kind]string{
	signature.PGP: "a PGP signature", signature.Key: "a sigstore signature by a key", signature.Keyless: "a sigstore signature by an identity",
}

func requiredWords(s *signature.Policy) string {
	var kinds []string
	for _, k := range s.Kinds {
		kinds = append(kinds, cmp.Or(kindNames[k], shown(string(k), 64)))
	}
	word := " and "
	if s.Require == signature.Any {
		word = " or "
	}
	return strings.Join(kinds, word)
}

func (f *frame) signers(s *signature.Policy) []signerRow {
	if s == nil {
		return nil
	}
	var out []signerRow
	for i := range s.Signers {
		x := &s.Signers[i]
		row := signerRow{
			Name: named(x.Name), Kind: cmp.Or(signerKinds[x.Kind()], "unknown"), Issuer: shown(x.Issuer, maxSentence), Subject: shown(x.Subject, maxSentence), PGP: x.Kind() == signature.PGP, Fingerprint: inFours(x.Fingerprint()),
			Charts: shownList(x.Charts, linesShown), Publishers: shownList(x.Publishers, linesShown), Owner: shown(x.Owner, maxSentence),
			From: moment{x.From, f.Now.at}, Until: moment{x.Until, f.Now.at}, Revoked: moment{x.Revoked, f.Now.at},
		}
		row.Ended = slices.ContainsFunc([]time.Time{x.Until, x.Revoked}, func(t time.Time) bool { return !t.IsZero() && !f.Now.at.Before(t) })
		out = append(out, row)
	}
	return out
}

// inFours writes digits in groups of four, as people read a fingerprint aloud.
func inFours(s string) string {
	var groups []string
	for g := range slices.Chunk([]byte(s), 4) {
		groups = append(groups, string(g))
	}
	return strings.Join(groups, " ")
}

var signerKinds = map[signature.Kind]string{signature.PGP: "PGP key", signature.Key: "key of sigstore bundles", signature.Keyless: "identity in a certificate"}

// policyPath is the page of the policy of a project.
func policyPath(base, project string) string { return base + "/policy/" + escapeSegments(project) }
