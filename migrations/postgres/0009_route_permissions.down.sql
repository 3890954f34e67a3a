DROP INDEX routes_route;
DROP TABLE route_permissions;
