DROP TABLE policies;
DROP TABLE route_roles;
DROP TABLE routes;
DROP TABLE upstreams;
DROP TABLE module_roles;
DROP TABLE modules;
