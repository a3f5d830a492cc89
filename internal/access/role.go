package access

// Role is a named, fixed set of actions. The list is closed: a role means the
// same thing on every server.
type Role string

// The roles.
const (
	RoleReader         Role = "reader"
	RolePublisher      Role = "publisher"
	RoleMaintainer     Role = "maintainer"
	RoleReleaseManager Role = "release-manager"
	RoleApprover       Role = "approver"
	RoleAuditor        Role = "auditor"
	RoleProjectOwner   Role = "project-owner"
	RoleInstanceAdmin  Role = "instance-admin"
)

// RoleInfo describes a role for help and documents.
type RoleInfo struct {
	Role        Role     `json:"role"`
	Description string   `json:"description"`
	Actions     []Action `json:"actions"` // in the order of Actions
}

type roleRow struct {
	role        Role
	description string
	actions     actionSet
}

var (
	readerSet    = setOf(ChartPull)
	publisherSet = readerSet | setOf(ChartPush, ProvAttach, AttestAttach, PolicyRead)
	auditorSet   = readerSet | setOf(PolicyRead, AuditRead, LogRead, WatchRead)
)

// Every role can pull, so that whoever has any grant in a project may know that
// the project exists; Refuse relies on it.
var roleTable = [...]roleRow{
	{RoleReader, "pulls charts", readerSet},
	{RolePublisher, "pushes new releases and attaches provenance and signatures to them; for release pipelines", publisherSet},
	{RoleMaintainer, "publisher that also yanks, archives pre-releases, imports history, asks for tombstones, puts releases into quarantine, and deletes in projects of kind artifacts",
		publisherSet | setOf(ChartYank, ChartUnyank, ChartArchive, HistoryImport, ArtifactDelete, TombstoneRequest, QuarantineSet)},
	{RoleReleaseManager, "watches upstreams and plans, reviews and applies upgrades; does not approve them",
		readerSet | setOf(PolicyRead, WatchRead, UpstreamWrite, DeploymentWrite, RouteWrite, AdvisoryWrite, UpgradePlan, UpgradeReview, UpgradeApply)},
	{RoleApprover, "approves what others asked for: upgrades, tombstones, quarantines, weaker policies; people only",
		readerSet | setOf(PolicyRead, WatchRead, UpgradeApprove, TombstoneApprove, QuarantineDecide, PolicyApprove)},
	{RoleAuditor, "reads everything, the audit trail and the log included; writes nothing", auditorSet},
	{RoleProjectOwner, "decides on members, tokens, keys, pipelines, policy and upstreams of a project; does not push",
		auditorSet | setOf(QuarantineSet, PolicyWrite, PublisherWrite, MemberWrite, TokenWrite, KeyWrite, UpstreamWrite, DeploymentWrite, RouteWrite, AdvisoryWrite)},
	{RoleInstanceAdmin, "runs the server: projects, accounts and any grant; does not push",
		auditorSet | setOf(QuarantineSet, PolicyWrite, PublisherWrite, MemberWrite, TokenWrite, KeyWrite, UpstreamWrite, DeploymentWrite, RouteWrite, AdvisoryWrite, ProjectCreate, InstanceAdmin)},
}

// roleIndex finds a role in roleTable; it is never written to.
var roleIndex = func() map[Role]int {
	m := make(map[Role]int, len(roleTable))
	for i, r := range roleTable {
		m[r.role] = i
	}
	return m
}()

// actions is the set of a role; an unknown role has none.
func (r Role) actions() actionSet {
	i, ok := roleIndex[r]
	if !ok {
		return 0
	}
	return roleTable[i].actions
}

// Has reports whether the role contains the action.
func (r Role) Has(a Action) bool {
	i, ok := actionIndex[a]
	return ok && r.actions().has(i)
}

// Roles lists every role, from the one with the fewest rights to the one with
// the most.
func Roles() []RoleInfo {
	out := make([]RoleInfo, 0, len(roleTable))
	for _, row := range roleTable {
		info := RoleInfo{Role: row.role, Description: row.description}
		for i, a := range actionTable {
			if row.actions.has(i) {
				info.Actions = append(info.Actions, a.Action)
			}
		}
		out = append(out, info)
	}
	return out
}

// RolesWith lists the roles that contain the action, narrowest first.
func RolesWith(a Action) []Role {
	var out []Role
	for _, row := range roleTable {
		if row.role.Has(a) {
			out = append(out, row.role)
		}
	}
	return out
}
