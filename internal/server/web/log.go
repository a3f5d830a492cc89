package web

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// logPage shows the log as it stands, who vouches for it, and its latest
// entries.
type logPage struct {
	frame
	Info          release.LogInfo
	Signed        moment
	CheckpointURL string
	Checkpoint    string         // that is published, with its cosignatures; "" when none is
	Unpublished   string         // why
	Published     int64          // entries in it
	Witnesses     *witnessesView // nil when it could not be read
	Rotations     []rotationView
	RotationsErr  bool   // they could not be read
	Server        string // base URL, for commands
	Find          string // what was looked up
	NotFound      string // why that has no entry
	Entries       []entryRow
	Hidden        int // entries that the reader may not see
	Older         string
	Newest        string // URL of the first page; "" on it
}

// entryRow is one entry of the log in a list.
type entryRow struct {
	Index    int64
	URL      string
	Kind     string
	About    string
	AboutURL string
	Note     string
	Bad      bool // something was withdrawn
	Logged   moment
	Hidden   bool
}

const entriesPerPage = 50

// log shows the log. Cost: one page of entries, the head, the rows of two
// checkpoints, those of the witnesses, and those of the keys that the log had.
func (d *Door) log(w http.ResponseWriter, r *http.Request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	info, err := d.svc.LogInfo(ctx)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	p := &logPage{
		frame: d.frameOf(r, "Log", "log"), Info: info,
		CheckpointURL: server.BaseURL(r) + "/log/checkpoint", Server: server.BaseURL(r),
		Find: strings.TrimSpace(query.Get("find")),
	}
	p.Signed = moment{info.Time, p.Now.at}
	p.vouch(ctx, d, c)
	if p.Find != "" {
		index, err := d.lookUp(r, p.Find, info.Size)
		if err == nil {
			return redirect(w, r, leafPath("", index))
		}
		if prob, ok := problem.As(err); !ok {
			return err
		} else {
			p.NotFound = sentence(prob.Message)
		}
	}
	before, _ := strconv.ParseInt(query.Get("before"), 10, 64)
	if before < 1 || before > info.Size {
		before = 0
	} else {
		p.Newest = p.Base + "/log"
	}
	newest, leaves, err := d.svc.LatestLeaves(ctx, c, before, entriesPerPage)
	if err != nil {
		return err
	}
	for i, text := range leaves {
		row := p.entry(newest-int64(i), text)
		if row.Hidden {
			p.Hidden++
		}
		p.Entries = append(p.Entries, row)
	}
	if last := newest - int64(len(leaves)); last >= 0 && len(leaves) > 0 {
		p.Older = fmt.Sprintf("%s/log?before=%d", p.Base, last+1)
	}
	return d.render(w, r, http.StatusOK, "log", p)
}

// vouch adds the checkpoint that is published, the witnesses and the keys. What
// cannot be read is said, and the rest of the page stands.
func (p *logPage) vouch(ctx context.Context, d *Door, c release.Caller) {
	text, err := d.svc.Checkpoint(ctx)
	if err != nil {
		p.Unpublished = unwell(err)
	} else {
		p.Checkpoint = string(text)
		if cp, err := tlog.ParseCheckpoint(text); err == nil {
			p.Published = cp.Size
		}
	}
	if w, err := d.svc.Witnessing(ctx); err == nil {
		v := witnessesOf(&w, p.Now.at, d.can(ctx, c, access.LogRead, "", "", false))
		p.Witnesses = &v
	}
	rotations, err := d.svc.Rotations(ctx)
	p.RotationsErr = err != nil
	p.Rotations = rotationsOf(rotations, p.Now.at)
	for i := range p.Rotations {
		p.Rotations[i].URL = leafPath(p.Base, p.Rotations[i].Index)
	}
}

// lookUp finds the entry of a number or of project/chart@version.
func (d *Door) lookUp(r *http.Request, find string, logSize int64) (int64, error) {
	if n, err := strconv.ParseInt(strings.ReplaceAll(find, ",", ""), 10, 64); err == nil {
		if n < 0 || n >= logSize {
			return 0, problem.New(problem.NotFound, "leaf", "the log has no entry %s; its last is %s", number(n), number(logSize-1))
		}
		return n, nil
	}
	project, name, version, ok := parseRef(find)
	if !ok {
		return 0, problem.New(problem.Invalid, "look-up", "this is neither the number of an entry nor a release such as platform/web@1.4.2")
	}
	detail, err := d.svc.Release(r.Context(), server.CallerOf(r), project, name, version)
	return detail.Release.LogIndex, err
}

// entry is a leaf in the words of the page; text is nil for one that is hidden.
func (f *frame) entry(index int64, text []byte) entryRow {
	row := entryRow{Index: index, URL: leafPath(f.Base, index), Hidden: text == nil}
	if text == nil {
		return row
	}
	leaf, err := tlog.ParseLeaf(text)
	if err != nil {
		row.Kind, _, _ = strings.Cut(string(text), "\n")
		row.Kind = shorten(row.Kind, 64)
		row.Note = "of a type that this version does not know"
		return row
	}
	row.Logged = moment{leaf.When(), f.Now.at}
	about := func(project, name, version string) {
		row.About, row.AboutURL = project+"/"+name+" "+version, releasePath(f.Base, project, name, version)
	}
	switch l := leaf.(type) {
	case tlog.Release:
		row.Kind = "release"
		about(l.Project, l.Chart, l.Version)
	case tlog.Legacy:
		row.Kind, row.Note = "legacy release", "taken over from "+l.Origin
		about(l.Project, l.Chart, l.Version)
	case tlog.Attach:
		row.Kind = map[string]string{tlog.AttachProvenance: "provenance added", tlog.AttachSignature: "signature added"}[l.Kind]
		about(l.Project, l.Chart, l.Version)
	case tlog.Yank:
		row.Kind, row.Note, row.Bad = "yank", joinReason(l.Reason, l.Text), true
		about(l.Project, l.Chart, l.Version)
	case tlog.Unyank:
		row.Kind, row.Note = "yank taken back", l.Text
		about(l.Project, l.Chart, l.Version)
	case tlog.Project:
		row.Kind, row.About, row.AboutURL = "project "+l.Action, l.Name, projectPath(f.Base, l.Name)
		row.Note = l.Visibility + ", " + l.Kind
	case tlog.Observation:
		row.Kind, row.Bad = "upstream, "+observed[l.Observed], l.Observed == tlog.ObservedChanged
		row.About, row.Note = chartVersion(l.Chart, l.Version)+" of "+shown(l.Upstream, maxName), shown(l.Source, maxName)
		if f.Watch {
			row.AboutURL = versionPath(f.Base, l.Upstream, l.Chart, l.Version)
		}
	case tlog.Signoff:
		row.Kind, row.Bad = "review "+l.Said, l.Said == tlog.SignoffDeclined
		row.About, row.Note = shown(l.Deployment, maxName), chartVersion(l.Chart, l.From)+" to "+shown(l.To, maxName)+", as "+l.Role
	case tlog.Policy:
		row.Kind, row.Bad = "policy changed", l.Change == tlog.PolicyWeaker
		row.About, row.AboutURL = l.Project, projectPath(f.Base, l.Project)
		if row.Bad {
			row.Note = "weaker than before"
		}
	case tlog.Quarantine:
		row.Kind, row.Note, row.Bad = "quarantine "+l.Action, joinReason(l.Reason, l.Text), l.Action == tlog.QuarantineSet
		about(l.Project, l.Chart, l.Version)
	case tlog.Tombstone:
		row.Kind, row.Note, row.Bad = "tombstone", joinReason(l.Reason, l.Text), true
		about(l.Project, l.Chart, l.Version)
	case tlog.Rotation:
		row.Kind, row.Note = "new log key", "the old one ends "+l.Until.UTC().Format("2006-01-02")
	case tlog.Audit:
		row.Kind, row.About = "audit checkpoint", plural(int(l.Size), "audit event")
	}
	return row
}

// observed are the observations of upstreams in words.
var observed = map[string]string{
	tlog.ObservedSeen: "first seen", tlog.ObservedChanged: "changed", tlog.ObservedVanished: "vanished",
	tlog.ObservedReturned: "returned", tlog.ObservedArchive: "archive read",
}

func joinReason(code, text string) string {
	if text == "" {
		return code
	}
	return code + ": " + text
}

// leafPage shows one entry with its proof.
type leafPage struct {
	frame
	entryRow
	Text     string
	Proof    proofView
	Hashes   []string // base64, from the entry's sibling to the root
	Newer    string
	Earlier  string
	ProofURL string // of the proof file, where there is one
	ProofOf  string // the archive's file name
	Server   string
}

func (d *Door) leaf(w http.ResponseWriter, r *http.Request, req request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	proof, err := d.svc.ProveLeaf(ctx, c, req.index)
	if err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	p := &leafPage{
		frame: d.frameOf(r, "Entry "+number(req.index), "log", link{"Log", base + "/log"}, link{number(req.index), ""}),
		Text:  string(proof.Leaf), Server: server.BaseURL(r),
	}
	p.entryRow = p.entry(req.index, proof.Leaf)
	p.Proof = proofView{Index: req.index, Checked: p.Now}
	leaf := d.checkProof(ctx, &proof, &p.Proof)
	if leaf != nil && proof.Index != req.index {
		p.Proof.Class, p.Proof.Why = "bad", "the proof is for entry "+number(proof.Index)
	}
	for _, h := range p.Proof.Hashes {
		p.Hashes = append(p.Hashes, base64.StdEncoding.EncodeToString(h[:]))
	}
	if req.index > 0 {
		p.Earlier = leafPath(base, req.index-1)
	}
	if req.index+1 < p.Proof.Size {
		p.Newer = leafPath(base, req.index+1)
	}
	switch l := leaf.(type) {
	case tlog.Release:
		p.offerProof(&l)
	case tlog.Legacy:
		p.offerProof(&l.Release)
	}
	return d.render(w, r, http.StatusOK, "leaf", p)
}

// offerProof leads to the proof file of the release that the entry made.
func (p *leafPage) offerProof(l *tlog.Release) {
	p.ProofOf = chart.FileName(l.Chart, l.Version)
	p.ProofURL = p.Server + "/" + l.Project + "/charts/" + p.ProofOf + ".tlog-proof"
}
