package api

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// maxInventory bounds what one import may bring, in bytes: some 20,000
// deployments with the values of each.
const maxInventory = 64 << 20

func (d *Door) listDeployments(c *call) (reply, error) {
	q, err := c.query("import", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	all, err := d.watching.DeploymentList(c.ctx, c.caller, q.Get("import"))
	if err != nil {
		return reply{}, err
	}
	re, err := page("deployment-list/v1", all, func(x watch.Deployment) string { return x.Key }, q)
	if err != nil || q.Get("after") != "" {
		return re, err
	}
	imports, err := d.watching.Imports(c.ctx, c.caller)
	if err != nil {
		return reply{}, err
	}
	if name := q.Get("import"); name != "" {
		imports = slices.DeleteFunc(imports, func(im watch.Import) bool { return im.Name != name })
	}
	return reply{body: deploymentsAnswer{re.body.(list[watch.Deployment]), notNil(imports)}}, nil
}

// deploymentsAnswer is the first page of deployments, with what the imports
// said that brought them.
type deploymentsAnswer struct {
	list[watch.Deployment]
	Imports []watch.Import `json:"imports"`
}

type deploymentAnswer struct {
	Schema string `json:"schema"`
	watch.Deployment
}

// keyOf reads the key of a deployment, which has slashes and colons, from the
// query.
func (c *call) keyOf() (string, error) {
	key, _, err := c.keyAnd()
	return key, err
}

// keyAnd is keyOf with other parameters beside it.
func (c *call) keyAnd(names ...string) (string, url.Values, error) {
	q, err := c.query(append(names, "key")...)
	if err != nil {
		return "", nil, err
	}
	if q.Get("key") == "" {
		return "", nil, problem.New(problem.Invalid, "key", "the parameter key names the deployment, and is missing").
			Suggest("chartkeep deployment list")
	}
	return q.Get("key"), q, nil
}

func (d *Door) getDeployment(c *call) (reply, error) {
	key, err := c.keyOf()
	if err != nil {
		return reply{}, err
	}
	x, err := d.watching.Deployment(c.ctx, c.caller, key)
	if err != nil {
		return reply{}, err
	}
	return reply{body: deploymentAnswer{"deployment/v1", x}}, nil
}

// deploymentPatch is what people declare; what is absent or null stays, and ""
// takes a declaration back.
type deploymentPatch struct {
	Environment *string `json:"environment"`
	Owner       *string `json:"owner"`
	Route       *string `json:"route"`
	Mission     *int    `json:"mission"`
	Exposure    *string `json:"exposure"`
}

func (d *Door) setDeployment(c *call) (reply, error) {
	var req deploymentPatch
	key, err := c.keyOf()
	if err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	x, err := d.watching.SetDeployment(c.ctx, c.caller, key, watch.DeploymentChange(req))
	if err != nil {
		return reply{}, err
	}
	return reply{body: deploymentAnswer{"deployment/v1", x}}, nil
}

// inventoryRequest is what an import found. Values are masked before they are
// sent, and again when they arrive.
type inventoryRequest struct {
	From        string                  `json:"from"`
	Deployments []deployment.Deployment `json:"deployments"`
	Problems    []string                `json:"problems"`
	Every       *watch.Duration         `json:"every"` // how often it is made; absent or null leaves what was declared
}

type importAnswer struct {
	Schema string `json:"schema"`
	watch.ImportResult
}

func (d *Door) importDeployments(c *call) (reply, error) {
	var req inventoryRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := decodeJSON(http.MaxBytesReader(c.w, c.r.Body, maxInventory), &req); err != nil {
		return reply{}, err
	}
	res, err := d.watching.ImportDeployments(c.ctx, c.caller, c.params["import"], deployment.Inventory{From: req.From, Deployments: req.Deployments, Problems: req.Problems}, req.Every)
	if err != nil {
		return reply{}, err
	}
	return reply{body: importAnswer{"deployment-import/v1", res}}, nil
}

func (d *Door) outdated(c *call) (reply, error) {
	q, err := c.query("import", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	rows, err := d.watching.Outdated(c.ctx, c.caller, q.Get("import"))
	if err != nil {
		return reply{}, err
	}
	return page("outdated-list/v1", rows, func(r deployment.Row) string { return r.Key }, q)
}

type differencesAnswer struct {
	Schema string `json:"schema"`
	deployment.Differences
}

func (d *Door) compareEnvironments(c *call) (reply, error) {
	q, err := c.query("a", "b")
	if err != nil {
		return reply{}, err
	}
	diff, err := d.watching.CompareEnvironments(c.ctx, c.caller, q.Get("a"), q.Get("b"))
	if err != nil {
		return reply{}, err
	}
	return reply{body: differencesAnswer{"environment-comparison/v1", diff}}, nil
}

// feed answers with the events of an upstream or a deployment as Atom.
func (d *Door) feed(c *call) (reply, error) {
	q, err := c.query("upstream", "deployment")
	if err != nil {
		return reply{}, err
	}
	f := watch.EventFilter{Upstream: q.Get("upstream"), Deployment: q.Get("deployment"), Limit: 100}
	if (f.Upstream == "") == (f.Deployment == "") {
		return reply{}, problem.New(problem.Invalid, "feed", "a feed is of one upstream or one deployment").
			Suggest("add ?upstream=NAME or ?deployment=KEY")
	}
	text, err := d.watching.EventFeed(c.ctx, c.caller, f, server.BaseURL(c.r))
	if err != nil {
		return reply{}, err
	}
	return reply{raw: text, contentType: "application/atom+xml"}, nil
}
