package source

import (
	"context"
	"net/url"
	"path"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// index polls a chart repository.
func (s *Sources) index(ctx context.Context, src watch.Source, v watch.Validators) (watch.Found, error) {
	base, at, err := indexURL(src.URL)
	if err != nil {
		return watch.Found{}, err
	}
	doc, found, err := s.get(ctx, src, v, at, "", int64(s.config.Index.Bytes))
	if err != nil || doc == nil {
		return found, err
	}
	x, err := upstream.Parse(doc.Body, s.config.Index)
	if err != nil {
		if p, ok := problem.As(err); ok {
			return found, p.With("url", "%s", remote.Shown(at))
		}
		return found, err
	}
	absolute(&x, base)
	found.Index = &x
	return found, nil
}

// indexURL is the URL of a repository, and that of its index. Either may be
// given.
func indexURL(raw string) (base *url.URL, at string, err error) {
	base, err = url.Parse(raw)
	if err != nil {
		return nil, "", problem.New(problem.Invalid, "source-url", "the URL of the repository cannot be read")
	}
	index := *base
	switch path.Ext(base.Path) {
	case ".yaml", ".yml", ".json":
		base = base.JoinPath("..")
	default:
		index = *base.JoinPath("index.yaml")
	}
	return base, index.String(), nil
}

// absolute makes the URLs of an index absolute by Helm's rule: they are meant
// from the repository's URL as it was configured, whatever a redirect of the
// index said, and take over its query. What Helm could not resolve either stays
// as it is. Cost: linear in the URLs.
func absolute(x *upstream.Index, base *url.URL) {
	folder := *base
	folder.Path = strings.TrimSuffix(folder.Path, "/") + "/"
	if folder.RawPath != "" {
		folder.RawPath = strings.TrimSuffix(folder.RawPath, "/") + "/"
	}
	for i := range x.Charts {
		versions := x.Charts[i].Versions
		for j := range versions {
			urls := versions[j].URLs
			for k, raw := range urls {
				if strings.HasPrefix(raw, "https://") && !strings.Contains(raw, "@") {
					continue // nearly all, and a million of them is possible
				}
				u, err := url.Parse(raw)
				switch {
				case err != nil || u.IsAbs() && u.User == nil:
					continue
				case !u.IsAbs():
					u = folder.ResolveReference(u)
					u.RawQuery = folder.RawQuery
				}
				u.User = nil
				urls[k] = u.String()
			}
		}
	}
}
