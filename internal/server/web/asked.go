package web

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// requestsPage lists what waits for a second person.
type requestsPage struct {
	frame
	Requests    []requestView
	Quarantines []quarantineRow // that nobody confirmed, those that lapse first on top
	All         bool            // also what is over
	From, Found int
	Newer       string
	Older       string
	MoreBlocked int
	Filters     []preset
}

// requestPage is one request.
type requestPage struct {
	frame
	Request requestView
	Failed  *failedForm
}

// requestView is a request with what its reader may do about it.
type requestView struct {
	ID       int64
	URL      string
	Kind     string
	About    link
	Digest   string // of the archive
	Reason   string
	Meaning  string
	Text     string
	Weaker   []string
	Document string // the policy that is asked for
	Before   string
	After    string
	By       string
	Made     moment
	Until    moment // it lapses then
	State    stateWord
	Waits    bool // for a second person
	Decider  string
	Decided  moment
	Answer   string
	Effect   moment // when it takes, or took, effect
	Done     bool
	// MayDecide and MayWithdraw show the forms. WhyNot says why this reader
	// cannot decide what waits.
	MayDecide, MayWithdraw bool
	WhyNot                 string
	Target                 string
	Closed                 bool // the server takes no forms
}

type quarantineRow struct {
	Release link
	Reason  string
	Text    string
	By      string
	Since   moment
	Lapses  moment
	// MayDecide: the reader can confirm or lift it, on the page of the release.
	MayDecide bool
	Mine      bool
}

const requestsPerPage = 50

var requestKinds = map[release.RequestKind]string{
	release.RequestTombstone: "tombstone: the bytes of a release go for good",
	release.RequestPolicy:    "another policy, which lets more through or takes a signer away",
}

// requests costs the open requests and what is withheld; with ?all all requests
// that were ever made, which people made one by one.
func (d *Door) requests(w http.ResponseWriter, r *http.Request) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	if !signedIn(&c.Principal) {
		return problem.New(problem.Unauthenticated, access.RuleSignIn, "you are not signed in")
	}
	p := &requestsPage{frame: d.frameOf(r, "Requests", "requests"), All: q.Has("all")}
	list, err := d.svc.Requests(ctx, c, release.RequestFilter{All: p.All})
	if err != nil {
		return err
	}
	self := p.Base + "/requests"
	p.Filters = []preset{{link{"Waiting", self}, !p.All}, {link{"Also what is over", self + "?all="}, p.All}}
	p.Found = len(list)
	var to int
	p.From, to, p.Newer, p.Older = pageOf(len(list), requestsPerPage, q, self, "all")
	for i := range list[p.From:to] {
		p.Requests = append(p.Requests, d.requestView(ctx, c, &p.frame, &list[p.From+i]))
	}
	blocked, err := d.svc.Quarantines(ctx, c, "")
	if err != nil {
		return err
	}
	for i := range blocked {
		n := blocked[i].Quarantine
		if n == nil || !n.Confirmed.IsZero() {
			continue
		}
		if len(p.Quarantines) == requestsPerPage {
			p.MoreBlocked++
			continue
		}
		p.Quarantines = append(p.Quarantines, d.quarantineRow(ctx, c, &p.frame, &blocked[i]))
	}
	return d.render(w, r, http.StatusOK, "requests", p)
}

func (d *Door) quarantineRow(ctx context.Context, c release.Caller, f *frame, rel *release.Release) quarantineRow {
	n := rel.Quarantine
	row := quarantineRow{
		Release: link{rel.Ref(), releasePath(f.Base, rel.Project, rel.Chart, rel.Version) + "#quarantine"}, Reason: blockMeaning(n.Reason),
		Text: said(n.Text, maxSentence), By: byName(n.ByName, n.By), Since: moment{n.Time, f.Now.at}, Lapses: moment{n.Lapses, f.Now.at}, Mine: n.By == accountOf(&c),
	}
	row.MayDecide = !row.Mine && isPerson(&c) && d.can(ctx, c, access.QuarantineDecide, rel.Project, rel.Chart, stateOfRelease(rel).Prerelease)
	return row
}

// blockMeaning is a reason code in words.
func blockMeaning(code string) string {
	for _, reason := range release.BlockReasons() {
		if reason.Code == code {
			return reason.Meaning
		}
	}
	return shown(code, 64)
}

func (d *Door) request(w http.ResponseWriter, r *http.Request, id int64) error {
	return d.showRequest(w, r, id, refusal{})
}

// showRequest costs one request.
func (d *Door) showRequest(w http.ResponseWriter, r *http.Request, id int64, ref refusal) error {
	ctx, c := r.Context(), server.CallerOf(r)
	if !signedIn(&c.Principal) {
		return problem.New(problem.Unauthenticated, access.RuleSignIn, "you are not signed in")
	}
	q, err := d.svc.Request(ctx, c, id)
	if err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	p := &requestPage{
		frame:  d.frameOf(r, "Request "+number(id), "requests", link{"Requests", base + "/requests"}, link{"Request " + number(id), ""}),
		Failed: ref.view(),
	}
	p.Request = d.requestView(ctx, c, &p.frame, &q)
	return d.render(w, r, ref.statusOr(http.StatusOK), "request", p)
}

func (d *Door) requestView(ctx context.Context, c release.Caller, f *frame, q *release.Request) requestView {
	v := requestView{
		ID: q.ID, URL: requestPath(f.Base, q.ID), Target: requestPath(f.Base, q.ID), Kind: requestKinds[q.Kind], Digest: q.Digest, Reason: q.Reason,
		Text: said(q.Text, maxSentence), Weaker: shownList(q.Weaker, linesShown), Before: q.Before, After: q.After, By: byName(q.RequesterName, q.Requester),
		Made: moment{q.Made, f.Now.at}, Until: moment{q.Expires, f.Now.at}, State: stateOfRequest(q.State), Waits: q.State == release.RequestWaiting,
		Decider: byName(q.DeciderName, q.Decider), Decided: moment{q.Decided, f.Now.at}, Answer: said(q.Answer, maxSentence),
		Effect: moment{q.Effective, f.Now.at}, Done: q.State == release.RequestDone, Closed: f.Closed(),
	}
	if q.Reason != "" {
		v.Meaning = blockMeaning(q.Reason)
	}
	prerelease := false
	if q.Kind == release.RequestTombstone {
		v.About = link{q.Project + "/" + q.Chart + " " + q.Version, releasePath(f.Base, q.Project, q.Chart, q.Version)}
		prerelease = stateOfRelease(&release.Release{Version: q.Version}).Prerelease
	} else {
		v.About = link{"policy of " + q.Project, policyPath(f.Base, q.Project)}
		v.Document = policyText(q.Document)
	}
	mine := q.Requester == accountOf(&c)
	may := isPerson(&c) && d.can(ctx, c, q.Kind.Decides(), q.Project, q.Chart, prerelease)
	v.MayDecide = v.Waits && may && !mine
	v.MayWithdraw = q.Open() && d.can(ctx, c, q.Kind.Asks(), q.Project, q.Chart, prerelease)
	switch {
	case !v.Waits || v.MayDecide:
	case mine:
		v.WhyNot = "You asked for it, and it takes two people: somebody else has to agree, with an account that was here before you asked. You can take it back."
	case !isPerson(&c):
		v.WhyNot = "Two people decide this, and you are signed in with a token of a project. Sign in with an account of your own."
	default:
		v.WhyNot = "You may not decide it: that takes the role approver in " + q.Project + "."
	}
	return v
}

func stateOfRequest(s release.RequestState) stateWord {
	switch s {
	case release.RequestWaiting:
		return stateWord{string(s), "warn", "wait", "waits for a second person"}
	case release.RequestApproved:
		return stateWord{string(s), "warn", "stale", "approved, waits for its time"}
	case release.RequestDone:
		return stateWord{string(s), "mute", "ok", "done"}
	case release.RequestDeclined:
		return stateWord{string(s), "mute", "skip", "declined"}
	case release.RequestWithdrawn:
		return stateWord{string(s), "mute", "skip", "taken back"}
	case release.RequestLapsed:
		return stateWord{string(s), "mute", "stale", "lapsed"}
	}
	return stateWord{string(s), "unk", "unk", shown(string(s), 64)}
}

// decide says yes or no, or takes a request back. What is refused because of who
// asks is shown beside the request.
func (d *Door) decide(w http.ResponseWriter, r *http.Request, id int64) error {
	ctx, c := r.Context(), server.CallerOf(r)
	do := map[string]func(context.Context, release.Caller, int64, string) (release.Request, error){
		"approve": d.svc.ApproveRequest, "decline": d.svc.DeclineRequest, "withdraw": d.svc.WithdrawRequest,
	}[r.PostForm.Get("do")]
	if do == nil {
		return unknownForm()
	}
	_, err := do(ctx, c, id, strings.TrimSpace(r.PostForm.Get("text")))
	if err == nil {
		return redirect(w, r, requestPath("", id))
	}
	status, p := server.Status(err)
	switch p.Kind {
	case problem.Invalid, problem.Conflict, problem.Policy, problem.Denied:
		return d.showRequest(w, r, id, refusal{"decide", status, p, url.Values{}})
	}
	return err
}

// requestPath is the page of a request.
func requestPath(base string, id int64) string {
	return base + "/requests/" + strconv.FormatInt(id, 10)
}
