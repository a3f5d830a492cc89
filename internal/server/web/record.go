package web

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// recordPage is one event of the audit trail with all that is known of it.
type recordPage struct {
	frame
	Row       auditRow
	About     string // what such an event is
	Overwrite *overwrite
	Facts     []fact
	Proof     proofView
	Hashes    []string // base64, from the event's sibling to the root
	Leaf      string   // as hashed
	Source    sourceView
	Runbook   string
	Earlier   string
	Later     string
	Trail     string // URL of the events around it
	Same      string // URL of the events of the same kind about the same thing
	Server    string
}

// sourceView is where a request came from, and whether that is what the leaf
// commits to.
type sourceView struct {
	IP, Agent string
	Class     string // of the mark
	Icon      string
	Word      string
	Why       string
}

// overwrite is a refused overwrite from both sides.
type overwrite struct {
	Ref           string
	OfferedAs     string // another release than Ref, "" when it is the same
	Same          bool   // the archives are the same, and something around them is not
	Stored        string // digest
	StoredContent string
	Released      moment
	By            string
	Size          string
	LogIndex      int64
	LogURL        string
	ReleaseURL    string
	Known         bool   // the facts of the stored release could be read; the digests are those of archives
	Offered       string // digest
	At            moment
	OfferedBy     string
	Through       string
	From          string
	Forced        bool
	Files         []fact
	More          string
	Copy          keptCopy
}

// keptCopy is what became of the bytes that were offered.
type keptCopy struct {
	Word   string // why there is none, "" when there is one
	URL    string // of the bytes
	Size   string
	First  moment
	Last   moment
	Times  string // how often these bytes were offered for this release; "" when it is not known
	Until  moment
	Get    string // commands that fetch both sides and compare them
	Pull   string
	Diff   string
	Unsure bool // whether there is one could not be read
}

// record shows one event. Cost: the event by its key, its proof, the release
// that it is about, and the row of the copy.
func (d *Door) record(w http.ResponseWriter, r *http.Request, req request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	rec, err := d.svc.AuditEvent(ctx, c, req.index)
	if err != nil {
		return err
	}
	e := &rec.Event
	base := server.ContextPath(r) + prefix
	p := &recordPage{Leaf: plainText(rec.Leaf), Server: server.BaseURL(r)}
	trail := auditPage{frame: frame{Base: base}}
	whole := d.can(ctx, c, access.AuditRead, "", "", false)
	around := auditFilter{}
	if !whole {
		around.Project = e.Resource.Project
	}
	p.frame = d.frameOf(r, "Event "+number(rec.Index), "audit", link{"Audit", trail.url(around, 0)}, link{number(rec.Index), ""})
	p.Row = p.event(&rec.AuditRecord)
	definition, _ := e.Name.Definition()
	p.About = definition.Description
	if definition.Alerts {
		p.Runbook = d.runbook("registry", string(e.Name))
	}
	p.prove(&rec)
	if strings.HasPrefix(string(e.Name), refusedPrefix) && e.Before != "" && e.After != "" {
		p.Overwrite = d.sides(ctx, c, p, &rec.AuditRecord)
	}
	p.Source = sourceOf(&rec.AuditRecord)
	p.Facts = recordFacts(e, p.Overwrite != nil)
	p.Trail = trail.url(around, rec.Index+1)
	if e.Resource.Project != "" {
		p.Same = trail.url(auditFilter{Project: e.Resource.Project, Chart: e.Resource.Chart, Version: e.Resource.Version, Event: string(e.Name), Each: true}, 0)
	}
	if whole { // who may read one project alone would meet events of others
		if rec.Index > 0 {
			p.Earlier = eventPath(base, rec.Index-1)
		}
		if rec.Index+1 < p.Proof.Size {
			p.Later = eventPath(base, rec.Index+1)
		}
	}
	return d.render(w, r, http.StatusOK, "record", p)
}

func (p *recordPage) prove(rec *release.ProvenRecord) {
	p.Proof = proofView{Index: rec.Index, Size: rec.Size, Checked: p.Now}
	if rec.Doubt != nil {
		p.Proof.fail(rec.Doubt)
	}
	for _, h := range rec.Hashes {
		p.Hashes = append(p.Hashes, base64.StdEncoding.EncodeToString(h[:]))
	}
}

// sourceOf checks the address that is shown with what the leaf commits to: it
// stands in a row that somebody could change.
func sourceOf(rec *release.AuditRecord) sourceView {
	e := &rec.Event
	v := sourceView{IP: shown(e.Source.IP, 64), Agent: shown(e.Source.UserAgent, maxSentence)}
	var salt [16]byte
	switch {
	case e.SourceDigest == "":
		v.Class, v.Icon, v.Word = "mute", "skip", "the event has none"
	case len(rec.Salt) == 0:
		v.Class, v.Icon, v.Word, v.Why = "unk", "unk", "forgotten", "the leaf still commits to it"
	case len(rec.Salt) != len(salt) || e.Source.Commit([16]byte(rec.Salt)) != e.SourceDigest:
		v.Class, v.Icon, v.Word, v.Why = "bad", "bad", "not the one of the event", "somebody changed it beside the log; the leaf commits to another"
	default:
		v.Class, v.Icon, v.Word, v.Why = "ok", "ok", "as logged", "the leaf commits to it"
	}
	return v
}

// recordFacts are the facts of an event, those left out that a refused
// overwrite shows on its sides.
func recordFacts(e *audit.Event, sides bool) []fact {
	var out []fact
	add := func(label, value string) {
		if value != "" {
			out = append(out, fact{shown(label, 64), shown(value, maxSentence), isDigest(value)})
		}
	}
	add("Event", string(e.Name))
	add("Id", e.ID)
	add("Actor", strings.TrimSpace(string(e.Actor.Kind)+" "+e.Actor.ID))
	add("Issuer", e.Actor.Issuer)
	add("Subject", e.Actor.Subject)
	add("Token", e.Actor.TokenID)
	add("Right", string(e.Action))
	outcome := string(e.Outcome.Result) + " " + e.Outcome.Rule
	if e.Outcome.Status != 0 {
		outcome += " " + strconv.Itoa(e.Outcome.Status)
	}
	add("Outcome", strings.TrimSpace(outcome))
	add("Project", e.Resource.Project)
	add("Chart", e.Resource.Chart)
	add("Version", e.Resource.Version)
	add("Digest", e.Resource.Digest)
	if !sides {
		add("Before", e.Before)
		add("After", e.After)
	}
	add("Reason", e.Reason)
	for _, key := range slices.Sorted(maps.Keys(e.Detail)) {
		if !sides || !strings.HasPrefix(key, detailFile) {
			add(key, e.Detail[key])
		}
	}
	add("Through", doorName(string(e.Door)))
	add("Request", e.RequestID)
	return out
}

func from(e *audit.Event) string {
	s := shown(e.Source.IP, 64)
	if ua := e.Source.UserAgent; ua != "" {
		s = strings.TrimSpace(s + " " + shown(ua, 80))
	}
	return s
}

// sides puts what stands beside what was offered. What stands is read from the
// release, whose facts never change.
func (d *Door) sides(ctx context.Context, c release.Caller, p *recordPage, rec *release.AuditRecord) *overwrite {
	e := &rec.Event
	offered := fmt.Sprintf("%s/%s@%s", e.Resource.Project, e.Resource.Chart, e.Resource.Version)
	o := &overwrite{
		Ref: cmp.Or(e.Detail[detailReleased], offered), Same: e.Before == e.After,
		Stored: e.Before, Offered: e.After, At: moment{e.Time, p.Now.at}, OfferedBy: shown(who(rec), maxName),
		Through: doorName(string(e.Door)), From: from(e), Forced: e.Detail[audit.DetailForce] != "",
	}
	for _, key := range slices.Sorted(maps.Keys(e.Detail)) {
		if strings.HasPrefix(key, detailFile) {
			kind, path, _ := strings.Cut(e.Detail[key], " ")
			o.Files = append(o.Files, fact{Label: shown(path, maxName), Value: shown(kind, 20)})
		}
	}
	o.More = shown(e.Detail[detailMore], 20)
	if o.Ref != offered {
		o.OfferedAs = shown(offered, maxName)
	}
	if !o.Same {
		o.Copy = d.copyOf(ctx, c, p, rec)
	}
	project, chart, version, ok := parseRef(o.Ref)
	o.Ref = shown(o.Ref, maxName)
	if !ok {
		return o
	}
	if o.Copy.URL != "" {
		o.Copy.Pull = "chartkeep pull " + quoted(o.Ref) + " --server " + p.Server
		o.Copy.Diff = "chartkeep diff " + quoted(chart+"-"+version+".tgz") + " offered.tgz"
	}
	detail, err := d.svc.Release(ctx, c, project, chart, version)
	if err != nil {
		return o // the digests of the event stand for themselves
	}
	o.ReleaseURL = releasePath(p.Base, project, chart, version)
	if detail.Release.Archive != e.Before {
		return o
	}
	rel := &detail.Release
	o.Known, o.StoredContent, o.Released = true, rel.Content, moment{rel.Time, p.Now.at}
	o.By, o.Size = byName(rel.By, rel.Publisher), size(rel.Size)
	o.LogIndex, o.LogURL = rel.LogIndex, leafPath(p.Base, rel.LogIndex)
	return o
}

// copyOf says whether the bytes that were offered are kept. Cost: the rows of
// their digest; the bytes are not read.
func (d *Door) copyOf(ctx context.Context, c release.Caller, p *recordPage, rec *release.AuditRecord) keptCopy {
	e := &rec.Event
	kept, bytes, err := d.svc.OpenRefused(ctx, c, e.Resource.Project, e.After)
	if err != nil {
		said := e.Detail["copy"]
		switch {
		case problem.KindOf(err) != problem.NotFound:
			return keptCopy{Unsure: true}
		case said == "kept":
			return keptCopy{Word: "a copy was kept, and its time is over"}
		}
		return keptCopy{Word: cmp.Or(shown(said, 64), "not kept")}
	}
	bytes.Close()
	v := keptCopy{
		URL:  p.Base + "/audit/refused?" + url.Values{"project": {e.Resource.Project}, "digest": {e.After}}.Encode(),
		Size: size(kept.Size), First: moment{kept.First, p.Now.at}, Last: moment{kept.Last, p.Now.at}, Until: moment{kept.Expires, p.Now.at},
		Get: "chartkeep audit refused get " + quoted(e.After) + " --project " + quoted(e.Resource.Project) + " --file offered.tgz --server " + p.Server,
	}
	if kept.Chart == e.Resource.Chart && kept.Version == e.Resource.Version {
		if v.Times = number(kept.Times) + " times"; kept.Times == 1 {
			v.Times = "once"
		}
	}
	return v
}

func eventPath(base string, index int64) string {
	return base + "/audit/" + strconv.FormatInt(index, 10)
}
