package web

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/server"
)

const (
	pairsPerPage = 20
	onlyShown    = 200
)

// environmentsPage answers in what one environment does not mirror another.
type environmentsPage struct {
	frame
	A, B     string
	As, Bs   []choice
	Known    int // environments
	Compared bool
	Same     int
	OnlyA    []link
	MoreA    int
	OnlyB    []link
	MoreB    int
	Pairs    []environmentPair
	Found    int
	From, To int
	Newer    string
	Older    string
}

type environmentPair struct {
	Keys  []link // of both
	ID    string
	Name  string
	Chart string
	Items []deviationRow
}

type deviationRow struct {
	What, A, B string
	Digest     bool
}

// environments costs all deployments, and the values of those that are compared.
func (d *Door) environments(w http.ResponseWriter, r *http.Request) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	list, err := d.cfg.Watching.DeploymentList(ctx, c, "")
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for i := range list {
		if list[i].Environment != "" {
			known[list[i].Environment] = true
		}
	}
	names := slices.Sorted(maps.Keys(known))
	base := server.ContextPath(r) + prefix
	p := &environmentsPage{
		frame: d.frameOf(r, "Environments", "deployments", link{"Deployments", base + "/deployments"}, link{"Environments", ""}),
		A:     q.Get("a"), B: q.Get("b"), Known: len(names),
	}
	if len(p.A)+len(p.B) > maxLinkedName {
		return tooLong()
	}
	if p.A == "" && p.B == "" && len(names) > 1 {
		p.A, p.B = likely(names)
	}
	p.As, p.Bs = offerNames(names, p.A), offerNames(names, p.B)
	if p.Compared = p.A != "" && p.B != "" && p.A != p.B; p.Compared {
		diff, err := d.cfg.Watching.CompareEnvironments(ctx, c, p.A, p.B)
		if err != nil {
			return err
		}
		p.show(&diff, q)
	}
	p.A, p.B = named(p.A), named(p.B)
	return d.render(w, r, http.StatusOK, "environments", p)
}

// likely picks what people compare: staging with production, where they are
// named so.
func likely(names []string) (a, b string) {
	with := func(part, not string) string {
		for _, n := range names {
			if n != not && strings.Contains(strings.ToLower(n), part) {
				return n
			}
		}
		return ""
	}
	b = cmp.Or(with("prod", ""), names[len(names)-1])
	return cmp.Or(with("stag", b), with("", b)), b
}

// offerNames are the environments that a form can send.
func offerNames(names []string, selected string) []choice {
	var out []choice
	for _, n := range names {
		if sendable(n) && shown(n, maxName) == n && (n == selected || len(out) < namesOffered) {
			out = append(out, choice{n, n, n == selected})
		}
	}
	return out
}

func (p *environmentsPage) show(diff *deployment.Differences, q url.Values) {
	p.Same, p.Found = diff.Same, len(diff.Pairs)
	p.OnlyA, p.MoreA = p.only(diff.OnlyA)
	p.OnlyB, p.MoreB = p.only(diff.OnlyB)
	p.From, p.To, p.Newer, p.Older = pageOf(len(diff.Pairs), pairsPerPage, q, p.Base+"/environments", "a", "b")
	for i := range diff.Pairs[p.From:p.To] {
		each := &diff.Pairs[p.From+i]
		pair := environmentPair{
			Keys: []link{p.keyLink(each.A), p.keyLink(each.B)}, ID: "p" + number(i),
			Name: named(each.Name), Chart: shown(each.Chart, maxName),
		}
		for _, item := range each.Items {
			if strings.HasPrefix(item.What, "values") {
				item.A, item.B = string(plainJSON([]byte(item.A), "")), string(plainJSON([]byte(item.B), ""))
			}
			pair.Items = append(pair.Items, deviationRow{
				What: shown(item.What, maxName), A: shown(item.A, maxSentence), B: shown(item.B, maxSentence),
				Digest: isDigest(item.A) && isDigest(item.B),
			})
		}
		p.Pairs = append(p.Pairs, pair)
	}
}

func (p *environmentsPage) only(keys []string) (list []link, more int) {
	for i, key := range keys {
		if i == onlyShown {
			return list, len(keys) - onlyShown
		}
		list = append(list, p.keyLink(key))
	}
	return list, 0
}

// keyLink leads to a deployment.
func (f *frame) keyLink(key string) link {
	return link{named(key), deploymentPath(f.Base, key)}
}
