"""The shop after the deploy: orders gain currency, public_id, total and an index, lose courier and coupon."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from decimal import Decimal

from django.db import models
from django.utils import timezone


class Customer(models.Model):
    name = models.CharField(max_length=100)
    email = models.EmailField(unique=True)


class Product(models.Model):
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.IntegerField()


class Courier(models.Model):
    name = models.CharField(max_length=100)
    active = models.BooleanField()


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="orders")
    status = models.CharField(max_length=10, default="new")
    placed_at = models.DateTimeField(default=timezone.now)
    subtotal = models.DecimalField(max_digits=10, decimal_places=2)
    shipping = models.DecimalField(max_digits=10, decimal_places=2)
    currency = models.CharField(max_length=3, default="EUR")
    public_id = models.UUIDField(default=uuid.uuid4, unique=True)
    total = models.DecimalField(max_digits=10, decimal_places=2, default=0)

    class Meta:
        indexes = [models.Index(fields=["status", "-placed_at"], name="order_worklist")]

    @classmethod
    def draft(cls, customer_id: int, subtotal: Decimal) -> Order:
        shipping = Decimal("4.90")
        return cls(customer_id=customer_id, subtotal=subtotal, shipping=shipping, total=subtotal + shipping)

    @classmethod
    def take_over(cls, orders: Iterable[Order]) -> list[Order]:
        """Save what a marketplace sends, which may send it twice."""
        return cls.objects.bulk_create(
            orders, update_conflicts=True, unique_fields=["public_id"], update_fields=["status"]
        )

    @classmethod
    def worklist(cls) -> Iterable[Order]:
        return cls.objects.filter(status="new").order_by("-placed_at")[:20]

    def receipt(self) -> str:
        if self.total != self.subtotal + self.shipping:
            raise ValueError("The total of an order is not the sum of its parts")
        return f"{self.public_id.hex}: {self.currency} {self.total}"


class OrderLine(models.Model):
    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, models.PROTECT, related_name="+")
    quantity = models.IntegerField()
    price = models.DecimalField(max_digits=8, decimal_places=2)


class CartItem(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="cart")
    product = models.ForeignKey(Product, models.CASCADE, related_name="+")
    quantity = models.IntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["customer", "product"], name="one_item_per_product")]
