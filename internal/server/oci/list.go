package oci

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// tags answers end-8. Cost: one page of tags, whatever the repository holds.
func (d *Door) tags(w http.ResponseWriter, r *http.Request, req *Request) error {
	limit := pageSize(req.Limit)
	// A page of none still asks for one, to learn whether the repository exists.
	list, more, err := d.registry.Tags(r.Context(), server.CallerOf(r), req.Repository, req.Last, max(limit, 1))
	if err != nil {
		return err
	}
	list = page(w, path(r, req.Repository, "/tags/list"), list, limit, more)
	return server.WriteJSON(w, http.StatusOK, struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{req.Repository, list})
}

// catalog answers GET /v2/_catalog with the repositories that the caller may
// read. A client that has a credential sends it only when asked, so that it
// would be shown the public ones alone; it is asked.
func (d *Door) catalog(w http.ResponseWriter, r *http.Request, req *Request) error {
	if err := challengeFirst(r); err != nil {
		return err
	}
	limit := pageSize(req.Limit)
	list, more, err := d.registry.Catalog(r.Context(), server.CallerOf(r), req.Last, max(limit, 1))
	if err != nil {
		return err
	}
	list = page(w, server.ContextPath(r)+"/v2/_catalog", list, limit, more)
	return server.WriteJSON(w, http.StatusOK, struct {
		Repositories []string `json:"repositories"`
	}{list})
}

func pageSize(asked int) int {
	if asked < 0 {
		return maxLimit
	}
	return asked
}

// page cuts a list to its limit, never nil, and sets the Link header when there
// is more. An empty page has no Link.
func page(w http.ResponseWriter, path string, list []string, limit int, more bool) []string {
	if len(list) > limit {
		list, more = list[:limit], true
	}
	if more && len(list) > 0 {
		link(w, path, url.Values{"n": {strconv.Itoa(limit)}, "last": {list[len(list)-1]}})
	}
	if list == nil {
		return []string{}
	}
	return list
}

func link(w http.ResponseWriter, path string, q url.Values) {
	w.Header().Set("Link", "<"+path+"?"+q.Encode()+`>; rel="next"`)
}

// maxReferrers bounds the descriptors of one answer, in bytes. Clients read an
// index up to 4 MiB.
const maxReferrers = 2 << 20

// referrers answers end-12. A list that is too long for one index goes on at
// the Link header. Cost: each page reads the whole list of one subject again;
// a subject with more than one page has thousands of referrers.
func (d *Door) referrers(w http.ResponseWriter, r *http.Request, req *Request) error {
	all, err := d.registry.Referrers(r.Context(), server.CallerOf(r), req.Repository, req.Digest, req.ArtifactType)
	if err != nil {
		return err
	}
	part, more, err := referrersPage(all, req.Last, maxReferrers)
	if err != nil {
		return err
	}
	h := w.Header()
	if req.ArtifactType != "" {
		h.Set(headerFilters, "artifactType")
	}
	if more != "" {
		q := url.Values{"last": {more}}
		if req.ArtifactType != "" {
			q.Set("artifactType", req.ArtifactType)
		}
		link(w, path(r, req.Repository, "/referrers/"+req.Digest), q)
	}
	h.Set("Content-Type", typeIndex)
	return server.WriteJSON(w, http.StatusOK, struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Manifests     []json.RawMessage `json:"manifests"`
	}{2, typeIndex, part})
}

// referrersPage encodes descriptors behind the one with digest last, until
// about most bytes are reached. It returns the digest that it stopped at when
// there are more. A page has at least one descriptor.
func referrersPage(all []release.Descriptor, last string, most int) (part []json.RawMessage, more string, err error) {
	if last != "" {
		from := -1
		for i := range all {
			if all[i].Digest == last {
				from = i + 1
				break
			}
		}
		if from < 0 {
			return nil, "", problem.New(problem.Invalid, RulePage, "the page cannot be found: %s is not in this list any more", last).
				Suggest("ask for the list from its beginning")
		}
		all = all[from:]
	}
	part = []json.RawMessage{}
	size := 0
	for i := range all {
		b, err := json.Marshal(&all[i])
		if err != nil {
			return nil, "", fmt.Errorf("encode descriptor of %s: %w", all[i].Digest, err)
		}
		if size += len(b); size > most && i > 0 {
			return part, all[i-1].Digest, nil
		}
		part = append(part, b)
	}
	return part, "", nil
}
