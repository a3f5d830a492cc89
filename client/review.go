package client

import (
	"context"
	"net/http"
	"time"
)

// Review is what moving one deployment from one version to another means.
type Review struct {
	ID         int64           `json:"id"`
	Digest     string          `json:"digest"`    // sha256:…
	Substance  string          `json:"substance"` // digest of what it comes to
	Deployment string          `json:"deployment"`
	Chart      string          `json:"chart"`
	From       ReviewSide      `json:"from"`
	To         ReviewSide      `json:"to"`
	Made       time.Time       `json:"made"`
	Inputs     Inputs          `json:"inputs"`
	Closed     []Finding       `json:"closed"`
	Introduced []Finding       `json:"introduced"`
	Remaining  []Finding       `json:"remaining"`
	Unknown    []UnknownImage  `json:"unknown"` // of the new version
	Compared   Comparison      `json:"compared"`
	Notes      []ReviewNotes   `json:"notes"`
	Deadline   time.Time       `json:"deadline,omitzero"` // earliest among closed
	SetBy      string          `json:"set_by,omitempty"`
	Verdict    ReviewVerdict   `json:"verdict"`
	Doubts     []string        `json:"doubts"`
	Checklist  []ChecklistItem `json:"checklist"`
	Roles      []string        `json:"roles"` // that have to sign
	State      string          `json:"state"`
	Signoffs   []Signoff       `json:"signoffs"`
}

// ReviewSide is one of the two versions of a review.
type ReviewSide struct {
	Version   string    `json:"version"`
	Archive   string    `json:"archive,omitempty"`  // digest; "" when its bytes are not had
	Upstream  string    `json:"upstream,omitempty"` // or Project: where it was published
	Project   string    `json:"project,omitempty"`
	FirstSeen time.Time `json:"first_seen,omitzero"`
	Images    []string  `json:"images"` // rendered with the deployment's values
}

// ReviewNotes are what one text says about the versions between.
type ReviewNotes struct {
	Version string     `json:"version"`
	Source  string     `json:"source"` // "changelog in the archive", or the address
	URL     string     `json:"url,omitempty"`
	Digest  string     `json:"digest"` // of the text
	Hints   []NoteHint `json:"hints"`
}

// NoteHint is a place of a text that says something.
type NoteHint struct {
	Rule     string   `json:"rule"` // such as advisory-id
	Line     int      `json:"line"` // from 1, in the whole text: where the words that count begin
	Text     string   `json:"text"` // the sentence or item, at most 300 bytes, without the marks of Markdown
	Security bool     `json:"security"`
	IDs      []string `json:"ids,omitempty"` // CVE, GHSA, GO, in the order of the text
	Name     string   `json:"name,omitempty"`
	Old      string   `json:"old,omitempty"`
	New      string   `json:"new,omitempty"`
}

// ReviewVerdict is the conclusion of a review.
type ReviewVerdict struct {
	Advice  string   `json:"advice"`
	Text    string   `json:"text"` // one sentence
	Reasons []string `json:"reasons"`
}

// ChecklistItem is something that a person has to answer.
type ChecklistItem struct {
	ID       string `json:"id"`
	Text     string `json:"text"`
	Finding  string `json:"finding"` // what it is about: the rule, key or doubt
	Required bool   `json:"required"`
	Role     string `json:"role"` // who answers it
}

// Signoff is a person's word on a review.
type Signoff struct {
	Role     string            `json:"role"`
	By       string            `json:"by"` // account id
	Name     string            `json:"name"`
	Time     time.Time         `json:"time"`
	Accepted bool              `json:"accepted"`
	Text     string            `json:"text"`
	Answers  map[string]string `json:"answers"` // by checklist item
	Digest   string            `json:"digest"`  // of the review
	LogIndex int64             `json:"log_index"`
}

// ReviewRow is a review in a list, with counts in place of its findings.
type ReviewRow struct {
	ID         int64         `json:"id"`
	Digest     string        `json:"digest"`
	Deployment string        `json:"deployment"`
	Chart      string        `json:"chart"`
	From       string        `json:"from"`
	To         string        `json:"to"`
	Archive    string        `json:"archive,omitempty"` // of To
	Made       time.Time     `json:"made"`
	Closed     int           `json:"closed"`
	Introduced int           `json:"introduced"`
	Unknown    int           `json:"unknown"` // images
	Deadline   time.Time     `json:"deadline,omitzero"`
	Verdict    ReviewVerdict `json:"verdict"`
	Doubts     []string      `json:"doubts"`
	Roles      []string      `json:"roles"`
	State      string        `json:"state"` // open, signed, declined, replaced
	Signoffs   []Signoff     `json:"signoffs"`
}

// ReviewFilter chooses reviews; empty fields choose all.
type ReviewFilter struct{ Deployment, Chart, Version, State string }

// Sign is a person's word on a review.
type Sign struct {
	Role    string            `json:"role"`   // reviewer or security
	Accept  bool              `json:"accept"` // false declines, and Text says why
	Text    string            `json:"text,omitempty"`
	Answers map[string]string `json:"answers,omitempty"` // by checklist item
}

// Reviews lists reviews, newest first. After is the Next of the page before.
func (c *Client) Reviews(ctx context.Context, f ReviewFilter, p Page) (l List[ReviewRow], err error) {
	q := p.values()
	for name, value := range map[string]string{"deployment": f.Deployment, "chart": f.Chart, "version": f.Version, "state": f.State} {
		set(q, name, value)
	}
	err = c.get(ctx, "/reviews", q, "review-list/v1", &l)
	return l, err
}

// MakeReview reviews what moving a deployment to a version means; "" is the
// version that the plan chose.
func (c *Client) MakeReview(ctx context.Context, deployment, version string) (out Review, err error) {
	err = c.send(ctx, http.MethodPost, "/reviews", map[string]string{"deployment": deployment, "version": version}, "review/v1", &out)
	return out, err
}

func reviewPath(digest string) (string, error) {
	p, err := segments(digest)
	return "/reviews" + p, err
}

// Review returns a review by its digest, of which the first digits are enough
// where they name one.
func (c *Client) Review(ctx context.Context, digest string) (out Review, err error) {
	path, err := reviewPath(digest)
	if err == nil {
		err = c.get(ctx, path, nil, "review/v1", &out)
	}
	return out, err
}

// SignReview adds a person's word to a review.
func (c *Client) SignReview(ctx context.Context, digest string, s Sign) (out Review, err error) {
	path, err := reviewPath(digest)
	if err == nil {
		err = c.send(ctx, http.MethodPost, path+"/sign", s, "review/v1", &out)
	}
	return out, err
}
