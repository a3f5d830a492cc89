package source

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Limits of what GitHub says. The releases beyond are old, and were read before.
const (
	maxGitHubPage  = 32 << 20
	maxGitHubPages = 10
	perGitHubPage  = 100
)

// A poll of a GitHub repository asks for the repository and for the first page
// of its releases, both conditionally, and for more pages only when the first
// one changed. What is edited in releases before the newest 100 alone is seen
// with the next new release.

// gitHubState is what is kept between polls.
type gitHubState struct {
	ETag     string `json:"etag,omitempty"` // of the repository
	Archived bool   `json:"archived,omitempty"`
	Moved    string `json:"moved,omitempty"`
}

// gitHubAPI is the API of the GitHub that a repository is on, and the
// repository's owner/name. GitHub Enterprise has its API below /api/v3.
func gitHubAPI(raw string) (api, name string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", problem.New(problem.Invalid, "source-url", "the URL of the repository cannot be read")
	}
	name = strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	if owner, repo, ok := strings.Cut(name, "/"); !ok || owner == "" || repo == "" || strings.Contains(repo, "/") {
		return "", "", problem.New(problem.Invalid, "source-url", "%s is not https://github.com/OWNER/REPOSITORY", remote.Shown(raw))
	}
	switch host := strings.ToLower(u.Host); {
	case host == "github.com" || host == "www.github.com":
		return "https://api.github.com", name, nil
	case strings.HasSuffix(host, ".ghe.com"): // GitHub Enterprise Cloud with data residency
		return "https://api." + host, name, nil
	}
	return u.Scheme + "://" + u.Host + "/api/v3", name, nil
}

// github polls a repository on GitHub.
func (s *Sources) github(ctx context.Context, src watch.Source, v watch.Validators) (watch.Found, error) {
	api, name, err := gitHubAPI(src.URL)
	if err != nil {
		return watch.Found{}, err
	}
	var state gitHubState
	if json.Unmarshal([]byte(v.State), &state) != nil {
		state = gitHubState{}
	}
	base := api + "/repos/" + name
	doc, err := s.gitHubGet(ctx, src, base, state.ETag, 1<<20)
	if err != nil {
		return watch.Found{}, err
	}
	found := watch.Found{Validators: v, Bytes: doc.Transferred, RetryAfter: remote.Pause(doc.Header, time.Now())}
	if !doc.NotModified {
		var r struct {
			FullName string `json:"full_name"`
			Archived bool   `json:"archived"`
		}
		if err := json.Unmarshal(doc.Body, &r); err != nil || r.FullName == "" {
			return found, notGitHub(base, err)
		}
		state = gitHubState{ETag: doc.ETag, Archived: r.Archived}
		if !strings.EqualFold(r.FullName, name) {
			state.Moved = clip(r.FullName, 200)
		}
	}
	b, err := json.Marshal(state)
	if err != nil {
		return found, err
	}
	same := string(b) == v.State
	found.Validators.State = string(b)
	found.Repository = &watch.RepositoryState{Archived: state.Archived, MovedTo: state.Moved}

	next, etag := base+"/releases?per_page="+fmt.Sprint(perGitHubPage), v.ETag
	for page := 0; next != "" && page < maxGitHubPages; page++ {
		doc, err = s.gitHubGet(ctx, src, next, etag, maxGitHubPage)
		if err != nil {
			return found, err
		}
		found.Bytes += doc.Transferred
		found.RetryAfter = max(found.RetryAfter, remote.Pause(doc.Header, time.Now()))
		if doc.NotModified {
			found.Unchanged = same
			return found, nil
		}
		if page == 0 {
			found.Validators.ETag, etag = doc.ETag, ""
		}
		notes, err := releases(doc.Body, src)
		if err != nil {
			return found, notGitHub(next, err)
		}
		found.Notes = append(found.Notes, notes...)
		if next, err = nextPage(doc.Header.Get("Link"), api); err != nil {
			return found, err
		}
	}
	return found, nil
}

// gitHubGet reads an answer of the API. The credential is the one that is bound
// to the API's host.
func (s *Sources) gitHubGet(ctx context.Context, src watch.Source, at, etag string, limit int64) (*remote.Document, error) {
	return s.client.Get(ctx, remote.Get{URL: at, Credential: src.Credential, Accept: "application/vnd.github+json", ETag: etag, Limit: limit})
}

func notGitHub(at string, err error) error {
	return problem.New(problem.Invalid, "source-github", "the answer of %s is not that of GitHub's API", remote.Shown(at)).Because(err)
}

// releases reads one page of releases.
func releases(b []byte, src watch.Source) ([]watch.Note, error) {
	var list []struct {
		ID        int64     `json:"id"`
		Tag       string    `json:"tag_name"`
		Name      string    `json:"name"`
		Body      string    `json:"body"`
		URL       string    `json:"html_url"`
		Draft     bool      `json:"draft"`
		Published time.Time `json:"published_at"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, err
	}
	var out []watch.Note
	for _, r := range list {
		if r.Draft || r.ID == 0 || len(out) == maxNotes {
			continue
		}
		chart, version, _ := upstream.ParseTag(r.Tag)
		out = append(out, note(watch.Note{
			SourceID: src.ID, Key: fmt.Sprintf("release %d", r.ID), Chart: clip(cmp.Or(chart, src.Chart), maxTitle), Version: version,
			Title: cmp.Or(r.Name, r.Tag), URL: r.URL, Text: r.Body, Published: r.Published,
		}))
	}
	return out, nil
}

// nextPage finds rel="next" in a Link header (RFC 8288). It must stay with the
// API that was asked.
func nextPage(link, api string) (string, error) {
	for part := range strings.SplitSeq(link, ",") {
		target, params, ok := strings.Cut(strings.TrimSpace(part), ">")
		if !ok || !strings.HasPrefix(target, "<") || !strings.Contains(strings.ReplaceAll(params, `"`, ""), "rel=next") {
			continue
		}
		if !strings.HasPrefix(target[1:], api+"/") {
			return "", problem.New(problem.Invalid, "source-github", "%s leads its list of releases on to another address", api)
		}
		return target[1:], nil
	}
	return "", nil
}
