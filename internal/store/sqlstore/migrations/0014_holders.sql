-- Who may do what in a project, among all who may do something somewhere.
CREATE INDEX access_grant_project ON access_grant (project);
