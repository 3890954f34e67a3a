DROP INDEX routes_route;
