-- What ends next is looked up after every change, among assignments that mostly have no end.
CREATE INDEX user_roles_expiry ON user_roles (expires_at) WHERE expires_at IS NOT NULL;
