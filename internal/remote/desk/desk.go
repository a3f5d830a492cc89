// Package desk makes and updates issues in trackers. GitHub's REST API for
// issues is the one that there is; another one is another file here.
//
// What always holds: an issue is found again by the marker in its text, which
// is looked for in the list of issues and not in the search, since that knows of
// a new issue only minutes later. What people changed in labels, state and
// assignees of an issue stays, but for closing one whose upgrade has ended.
package desk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// Limits of what is read.
const (
	label     = "chartkeep" // that every issue gets, so that they can be listed
	pageSize  = 100
	maxPages  = 50
	maxAnswer = 32 << 20 // bytes of one page: a body has at most 64 KiB
	maxBody   = 60_000   // characters of a text; GitHub takes 65,536
)

// Desk implements upgrade.Desk. It is safe for concurrent use.
type Desk struct{ client *remote.Client }

// New makes a desk that goes out through client.
func New(client *remote.Client) *Desk { return &Desk{client} }

var _ upgrade.Desk = (*Desk)(nil)

// issue is one of GitHub's.
type issue struct {
	Number      int64           `json:"number"`
	HTMLURL     string          `json:"html_url"`
	State       string          `json:"state"`
	Body        string          `json:"body"`
	PullRequest json.RawMessage `json:"pull_request"`
}

func (i *issue) out() upgrade.Issue {
	return upgrade.Issue{Number: i.Number, URL: i.HTMLURL, Closed: i.State == "closed"}
}

// endpoint is the address of the issues of a tracker's repository.
func endpoint(t upgrade.Tracker) (string, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return "", fmt.Errorf("read the URL of tracker %s: %w", t.Name, err)
	}
	api := strings.TrimSuffix(t.API, "/")
	switch {
	case api != "":
	case u.Host == "github.com":
		api = "https://api.github.com"
	default:
		api = u.Scheme + "://" + u.Host + "/api/v3"
	}
	return api + "/repos/" + strings.Trim(u.Path, "/") + "/issues", nil
}

// Find implements upgrade.Desk. Cost: the issues with our label, newest first,
// until the marker is found; at most 5,000.
func (d *Desk) Find(ctx context.Context, t upgrade.Tracker, marker string) (upgrade.Issue, error) {
	at, err := endpoint(t)
	if err != nil {
		return upgrade.Issue{}, err
	}
	for page := 1; page <= maxPages; page++ {
		var list []issue
		q := url.Values{"state": {"all"}, "labels": {label}, "sort": {"created"}, "direction": {"desc"}, "per_page": {fmt.Sprint(pageSize)}, "page": {fmt.Sprint(page)}}
		if err := d.ask(ctx, t, http.MethodGet, at+"?"+q.Encode(), nil, &list); err != nil {
			return upgrade.Issue{}, err
		}
		for i := range list {
			if list[i].PullRequest == nil && strings.Contains(list[i].Body, marker) {
				return list[i].out(), nil
			}
		}
		if len(list) < pageSize {
			return upgrade.Issue{}, problem.New(problem.NotFound, "issue", "no issue in %s has the marker %s", t.URL, marker)
		}
	}
	return upgrade.Issue{}, problem.New(problem.TooLarge, "issues", "%s has more than %d issues labelled %s; it cannot be told whether the ticket is there", t.URL, maxPages*pageSize, label)
}

// Create implements upgrade.Desk.
func (d *Desk) Create(ctx context.Context, t upgrade.Tracker, text upgrade.IssueText) (upgrade.Issue, error) {
	at, err := endpoint(t)
	if err != nil {
		return upgrade.Issue{}, err
	}
	labels := slices.Clone(text.Labels)
	if !slices.Contains(labels, label) {
		labels = append(labels, label)
	}
	var is issue
	if err := d.ask(ctx, t, http.MethodPost, at, map[string]any{"title": text.Title, "body": cut(text.Body), "labels": labels}, &is); err != nil {
		return upgrade.Issue{}, err
	}
	if text.Closed {
		return d.Update(ctx, t, is.Number, text)
	}
	return is.out(), nil
}

// Update implements upgrade.Desk. An issue that somebody closed stays closed.
func (d *Desk) Update(ctx context.Context, t upgrade.Tracker, number int64, text upgrade.IssueText) (upgrade.Issue, error) {
	at, err := endpoint(t)
	if err != nil {
		return upgrade.Issue{}, err
	}
	change := map[string]any{"title": text.Title, "body": cut(text.Body)}
	if text.Closed {
		change["state"] = "closed"
	}
	var is issue
	if err := d.ask(ctx, t, http.MethodPatch, fmt.Sprintf("%s/%d", at, number), change, &is); err != nil {
		return upgrade.Issue{}, err
	}
	return is.out(), nil
}

// ask sends a request and reads the answer.
func (d *Desk) ask(ctx context.Context, t upgrade.Tracker, method, address string, send, receive any) error {
	var body io.Reader
	if send != nil {
		text, err := json.Marshal(send)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return fmt.Errorf("ask tracker %s: %w", t.Name, err)
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := d.client.Do(req, t.Credential)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := remote.Refusal(res, t.Credential); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return err
	}
	if len(text) > maxAnswer {
		return problem.New(problem.TooLarge, "tracker-answer", "the answer of %s has more than %d bytes", remote.Shown(address), maxAnswer)
	}
	if err := json.Unmarshal(text, receive); err != nil {
		return problem.New(problem.Unavailable, "tracker-answer", "%s does not answer as GitHub's API does", remote.Shown(address)).Because(err)
	}
	return nil
}

// cut shortens a text to what a tracker takes, and says that it did. The marker
// stands at its beginning.
func cut(text string) string {
	r := []rune(text)
	if len(r) <= maxBody {
		return text
	}
	return string(r[:maxBody]) + "\n\n… This text was cut; the page has all of it.\n"
}
