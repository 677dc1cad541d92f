"""The shop before the deploy."""

from __future__ import annotations

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
    courier = models.ForeignKey(Courier, models.SET_NULL, null=True, related_name="orders")
    status = models.CharField(max_length=10, default="new")
    placed_at = models.DateTimeField(default=timezone.now)
    subtotal = models.DecimalField(max_digits=10, decimal_places=2)
    shipping = models.DecimalField(max_digits=10, decimal_places=2)
    coupon = models.CharField(max_length=20, blank=True)

    @classmethod
    def draft(cls, customer_id: int, subtotal: Decimal) -> Order:
        courier = Courier.objects.filter(active=True).order_by("-pk")[customer_id % 50]
        order = cls(customer_id=customer_id, subtotal=subtotal, shipping=Decimal("4.90"))
        order.courier, order.coupon = courier, "SPRING"
        return order

    @classmethod
    def take_over(cls, orders: Iterable[Order]) -> list[Order]:
        """Save what a marketplace sends."""
        return cls.objects.bulk_create(orders)

    @classmethod
    def worklist(cls) -> Iterable[Order]:
        return cls.objects.select_related("courier").order_by("-pk")[:20]

    def receipt(self) -> str:
        discount = f" less {self.coupon.lower()}" if self.coupon.isupper() else ""
        return f"{self.subtotal + self.shipping}{discount}"


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
